/* Lines of outputs of one channel, of the depthwise 3x3 kernel for cores with the DSP extension.
 *
 * The image of four channels is repacked: a word holds two neighbours along the line as lanes of
 * 16 bits, times 256. Words of the four channels lie side by side, then come those of the lines
 * below, then the next two neighbours. So two outputs are twelve multiplications and three loads.
 */
#ifndef EQ_LINES_H_
#define EQ_LINES_H_

#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/* Bytes between the words of one channel in a line and the line below. */
#define EQ_LINE_BYTES 16

typedef struct {
    int32_t bias; /* twice, for two outputs; of eq_line_s8, as the multiplier */
    int32_t bias_again;
    int32_t multiplier;
    int32_t output_step;    /* bytes from an output to the next one in its line */
    int32_t pair_step;      /* bytes from two neighbours to the next two */
    const uint8_t* end;     /* of the first line: behind what all whole steps see */
    const uint8_t* line;    /* the first line that the first outputs see */
    int8_t* output;         /* the first */
    const uint8_t* stop;    /* the line that no outputs begin with any more */
    int32_t output_line;    /* bytes from a line of outputs to the next one */
    int32_t count;          /* outputs in a line */
    const int32_t* weights; /* rows of w0, w1, w1, w2, one byte each */
} eq_lines_t;

typedef void eq_lines_fn(const eq_lines_t* p);

/* For windows that go on by one or by two, and for the shift of eq_line_s8. */
void eq_lines_by_1_shift_8(const eq_lines_t* p);
void eq_lines_by_1_shift_10(const eq_lines_t* p);
void eq_lines_by_1_shift_12(const eq_lines_t* p);
void eq_lines_by_2_shift_8(const eq_lines_t* p);
void eq_lines_by_2_shift_10(const eq_lines_t* p);
void eq_lines_by_2_shift_12(const eq_lines_t* p);

#ifdef __cplusplus
}
#endif

#endif /* EQ_LINES_H_ */
