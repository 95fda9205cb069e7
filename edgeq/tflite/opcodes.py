"""Operator names and option tables of the .tflite schema, version 3 (with additions to 2026).

The numbers are the schema's (tensorflow/compiler/mlir/lite/schema/schema.fbs): a name's place in
OPERATORS is its BuiltinOperator, in TENSOR_TYPES its TensorType, and a key of OPTIONS is the
BuiltinOptions union's tag.
"""

from __future__ import annotations

OPERATORS: tuple[str, ...] = tuple(
    """
    ADD AVERAGE_POOL_2D CONCATENATION CONV_2D DEPTHWISE_CONV_2D DEPTH_TO_SPACE DEQUANTIZE
    EMBEDDING_LOOKUP FLOOR FULLY_CONNECTED HASHTABLE_LOOKUP L2_NORMALIZATION L2_POOL_2D
    LOCAL_RESPONSE_NORMALIZATION LOGISTIC LSH_PROJECTION LSTM MAX_POOL_2D MUL RELU RELU_N1_TO_1
    RELU6 RESHAPE RESIZE_BILINEAR RNN SOFTMAX SPACE_TO_DEPTH SVDF TANH CONCAT_EMBEDDINGS
    SKIP_GRAM CALL CUSTOM EMBEDDING_LOOKUP_SPARSE PAD UNIDIRECTIONAL_SEQUENCE_RNN GATHER
    BATCH_TO_SPACE_ND SPACE_TO_BATCH_ND TRANSPOSE MEAN SUB DIV SQUEEZE
    UNIDIRECTIONAL_SEQUENCE_LSTM STRIDED_SLICE BIDIRECTIONAL_SEQUENCE_RNN EXP TOPK_V2 SPLIT
    LOG_SOFTMAX DELEGATE BIDIRECTIONAL_SEQUENCE_LSTM CAST PRELU MAXIMUM ARG_MAX MINIMUM LESS NEG
    PADV2 GREATER GREATER_EQUAL LESS_EQUAL SELECT SLICE SIN TRANSPOSE_CONV SPARSE_TO_DENSE TILE
    EXPAND_DIMS EQUAL NOT_EQUAL LOG SUM SQRT RSQRT SHAPE POW ARG_MIN FAKE_QUANT REDUCE_PROD
    REDUCE_MAX PACK LOGICAL_OR ONE_HOT LOGICAL_AND LOGICAL_NOT UNPACK REDUCE_MIN FLOOR_DIV
    REDUCE_ANY SQUARE ZEROS_LIKE FILL FLOOR_MOD RANGE RESIZE_NEAREST_NEIGHBOR LEAKY_RELU
    SQUARED_DIFFERENCE MIRROR_PAD ABS SPLIT_V UNIQUE CEIL REVERSE_V2 ADD_N GATHER_ND COS WHERE
    RANK ELU REVERSE_SEQUENCE MATRIX_DIAG QUANTIZE MATRIX_SET_DIAG ROUND HARD_SWISH IF WHILE
    NON_MAX_SUPPRESSION_V4 NON_MAX_SUPPRESSION_V5 SCATTER_ND SELECT_V2 DENSIFY SEGMENT_SUM
    BATCH_MATMUL PLACEHOLDER_FOR_GREATER_OP_CODES CUMSUM CALL_ONCE BROADCAST_TO RFFT2D CONV_3D
    IMAG REAL COMPLEX_ABS HASHTABLE HASHTABLE_FIND HASHTABLE_IMPORT HASHTABLE_SIZE REDUCE_ALL
    CONV_3D_TRANSPOSE VAR_HANDLE READ_VARIABLE ASSIGN_VARIABLE BROADCAST_ARGS
    RANDOM_STANDARD_NORMAL BUCKETIZE RANDOM_UNIFORM MULTINOMIAL GELU DYNAMIC_UPDATE_SLICE
    RELU_0_TO_1 UNSORTED_SEGMENT_PROD UNSORTED_SEGMENT_MAX UNSORTED_SEGMENT_SUM ATAN2
    UNSORTED_SEGMENT_MIN SIGN BITCAST BITWISE_XOR RIGHT_SHIFT STABLEHLO_LOGISTIC STABLEHLO_ADD
    STABLEHLO_DIVIDE STABLEHLO_MULTIPLY STABLEHLO_MAXIMUM STABLEHLO_RESHAPE STABLEHLO_CLAMP
    STABLEHLO_CONCATENATE STABLEHLO_BROADCAST_IN_DIM STABLEHLO_CONVOLUTION STABLEHLO_SLICE
    STABLEHLO_CUSTOM_CALL STABLEHLO_REDUCE STABLEHLO_ABS STABLEHLO_AND STABLEHLO_COSINE
    STABLEHLO_EXPONENTIAL STABLEHLO_FLOOR STABLEHLO_LOG STABLEHLO_MINIMUM STABLEHLO_NEGATE
    STABLEHLO_OR STABLEHLO_POWER STABLEHLO_REMAINDER STABLEHLO_RSQRT STABLEHLO_SELECT
    STABLEHLO_SUBTRACT STABLEHLO_TANH STABLEHLO_SCATTER STABLEHLO_COMPARE STABLEHLO_CONVERT
    STABLEHLO_DYNAMIC_SLICE STABLEHLO_DYNAMIC_UPDATE_SLICE STABLEHLO_PAD STABLEHLO_IOTA
    STABLEHLO_DOT_GENERAL STABLEHLO_REDUCE_WINDOW STABLEHLO_SORT STABLEHLO_WHILE
    STABLEHLO_GATHER STABLEHLO_TRANSPOSE DILATE STABLEHLO_RNG_BIT_GENERATOR REDUCE_WINDOW
    STABLEHLO_COMPOSITE STABLEHLO_SHIFT_LEFT STABLEHLO_CBRT STABLEHLO_CASE
    """.split()
)

TENSOR_TYPES: tuple[str, ...] = tuple(
    """
    float32 float16 int32 uint8 int64 string bool int16 complex64 int8 float64 complex128 uint64
    resource variant uint32 uint16 int4 bfloat16 int2 uint4 float8_e4m3fn float8_e5m2
    """.split()
)

ACTIVATIONS = ("NONE", "RELU", "RELU_N1_TO_1", "RELU6", "TANH", "SIGN_BIT")
PADDINGS = ("SAME", "VALID")
MIRROR_MODES = ("REFLECT", "SYMMETRIC")

OPTIONS: dict[int, tuple[str, ...]] = {
    1: (
        "padding",
        "i32 stride_w",
        "i32 stride_h",
        "activation",
        "i32 dilation_w 1",
        "i32 dilation_h 1",
        "type quantized_bias_type",
    ),
    2: (
        "padding",
        "i32 stride_w",
        "i32 stride_h",
        "i32 depth_multiplier",
        "activation",
        "i32 dilation_w 1",
        "i32 dilation_h 1",
    ),
    5: ("padding", "i32 stride_w", "i32 stride_h", "i32 filter_w", "i32 filter_h", "activation"),
    6: ("i32 rank", "activation", "bool asymmetric_quantize_inputs"),
    8: (
        "activation",
        "i8 weights_format",
        "bool keep_num_dims",
        "bool asymmetric_quantize_inputs",
        "type quantized_bias_type",
    ),
    9: ("f32 beta",),
    10: ("i32 axis", "activation"),
    11: ("activation", "bool pot_scale_int16 1"),
    12: ("activation",),
    15: ("-", "-", "bool align_corners", "bool half_pixel_centers"),
    16: ("subgraph subgraph",),
    17: ("ints new_shape",),
    19: ("i32 block_size",),
    21: ("activation",),
    23: ("i32 axis", "i32 batch_dims"),
    27: ("bool keep_dims",),
    28: ("activation", "bool pot_scale_int16 1"),
    29: ("activation",),
    30: ("ints squeeze_dims",),
    32: (
        "i32 begin_mask",
        "i32 end_mask",
        "i32 ellipsis_mask",
        "i32 new_axis_mask",
        "i32 shrink_axis_mask",
        "bool offset",
    ),
    35: ("i32 num_splits",),
    37: ("type in_type", "type out_type"),
    40: ("type output_type",),
    49: ("padding", "i32 stride_w", "i32 stride_h", "activation", "type quantized_bias_type"),
    57: ("type output_type",),
    59: ("i32 values_count", "i32 axis"),
    64: ("i32 num", "i32 axis"),
    71: (
        "activation",
        "f32 cell_clip",
        "f32 proj_clip",
        "bool time_major",
        "bool asymmetric_quantize_inputs",
        "bool diagonal_recurrent_tensors",
    ),
    74: ("bool align_corners", "bool half_pixel_centers"),
    75: ("f32 alpha",),
    77: ("mirror_mode",),
    79: ("i32 num_splits",),
    92: ("subgraph then_subgraph", "subgraph else_subgraph"),
    93: ("subgraph cond_subgraph", "subgraph body_subgraph"),
    94: ("i32 block_size",),
    101: ("bool adj_x", "bool adj_y", "bool asymmetric_quantize_inputs"),
    102: ("bool exclusive", "bool reverse"),
    103: ("subgraph init_subgraph",),
    106: (
        "padding",
        "i32 stride_d",
        "i32 stride_w",
        "i32 stride_h",
        "activation",
        "i32 dilation_d 1",
        "i32 dilation_w 1",
        "i32 dilation_h 1",
    ),
    116: ("bool approximate",),
}
"""Tag -> fields in schema order, "kind name default"; "-" is a slot that is no longer used.

The kinds "padding", "activation" and "mirror_mode" name themselves; "type" is a TensorType;
"subgraph" an index into the model's subgraphs.
"""
