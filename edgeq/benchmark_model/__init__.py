"""Google's benchmark_model: what it prints and writes, and how it is driven on a machine.

    text.py         what it prints, classic and LiteRT, old and new
    op_profile.py   its operator profiles, as CSV and as tables
    result_file.py  the file of --result_file_path
    tool_json.py    the --result_json of LiteRT's tool in Python
    binary.py       a person's build: for which processor, of which flavour, with which flags
    driver.py       that build on a machine: outputs checked, then timed
    results.py      what came of it, as JSON and as rows of a table

Two programs have the name: tflite/tools/benchmark ("classic") and litert/tools/
benchmark_litert_model ("litert"), both in google-ai-edge/LiteRT now. Their sources define all of
these formats.
"""
