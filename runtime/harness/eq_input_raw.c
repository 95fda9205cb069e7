/* `db` holds the inputs as the network stores them (kws01). */
#include "eq_results.h"

const eq_input_t eq_input_raw = {"raw", 0, NULL, eq_put_results};
