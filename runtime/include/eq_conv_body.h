/* The text that the kernels of CONV_2D have in common. A kernel's file defines these, and then
 * includes it:
 *
 *     EQ_CONV                              the function's name, of parameters EQ_PARAMETERS
 *     EQ_VALUE, EQ_SUM                     the types of an activation and of a sum
 *     EQ_BEGIN, EQ_DOT, EQ_END             eq_channels_begin, eq_dot_s8 and eq_channels_s8, say
 */

/* Below this many values a row of the kernel is too short to be worth a loop of its own. */
#define SHORTEST_RUN 16

/* What one output sees: `rows` runs of `run` values, `step` values apart. */
typedef struct {
    const EQ_VALUE* values;
    int32_t rows;
    int32_t run;
    int32_t step;
} view_t;

/* The outputs of channels channel .. end - 1 at one place. */
static void outputs(const EQ_PARAMETERS* p, const view_t* view, int32_t channel, int32_t end,
                    EQ_VALUE* output) {
    const int32_t size = view->rows * view->run;
    EQ_SUM sums[EQ_CHANNEL_BLOCK];
    for (; channel < end; channel += EQ_CHANNEL_BLOCK) {
        const int32_t count = EQ_BEGIN(&p->channels, channel, end, sums);
        const EQ_VALUE* values = view->values;
        const int8_t* weights = p->weights + channel * size;
        for (int32_t row = 0; row < view->rows; row++) {
            EQ_DOT(values, view->run, weights, size, count, sums);
            values += view->step;
            weights += view->run;
        }
        EQ_END(&p->channels, channel, count, sums, output + channel);
    }
}

/* The input itself where the kernel's rows lie in it without gaps, else a copy in `scratch`. */
static view_t look(const EQ_PARAMETERS* p, const EQ_VALUE* image, int32_t y, int32_t x,
                   int32_t group, EQ_VALUE* scratch) {
    const eq_window_t* window = &p->window;
    const int32_t channels = window->input_channels / p->groups;
    view_t view = {scratch, 1, window->kernel_height * window->kernel_width * channels, 0};
    const int32_t run = window->kernel_width * channels;
    const int is_dense = p->groups == 1 && window->dilation_width == 1;
    const int is_long = run >= SHORTEST_RUN || window->kernel_height == 1;
    if (is_dense && is_long && eq_window_is_inside(window, y, x)) {
        const int32_t row = window->input_width * channels;
        view.values = image + eq_window_top(window, y) * row + eq_window_left(window, x) * channels;
        view.rows = window->kernel_height;
        view.run = run;
        view.step = window->dilation_height * row;
    } else {
        eq_window_gather(window, image, sizeof *image, y, x, group * channels, channels, scratch);
    }
    return view;
}

void EQ_CONV(const EQ_PARAMETERS* p, const EQ_VALUE* input, EQ_VALUE* scratch, EQ_VALUE* output) {
    const eq_window_t* window = &p->window;
    const int32_t image_size = window->input_height * window->input_width * window->input_channels;
    const int32_t channels = p->output_channels / p->groups;
    for (int32_t batch = 0; batch < p->batches; batch++) {
        for (int32_t y = 0; y < p->output_height; y++) {
            for (int32_t x = 0; x < p->output_width; x++) {
                for (int32_t group = 0; group < p->groups; group++) {
                    const view_t view = look(p, input, y, x, group, scratch);
                    outputs(p, &view, group * channels, (group + 1) * channels, output);
                }
                output += p->output_channels;
            }
        }
        input += image_size;
    }
}
