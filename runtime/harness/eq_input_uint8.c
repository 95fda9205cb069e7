/* `db` holds pixels of 0 to 255; the network's int8 is 128 less: the top bit turned (ic01, vww01).
 */
#include "eq_results.h"

const eq_input_t eq_input_uint8 = {"uint8", 0x80, NULL, eq_put_results};
