#!/bin/sh
# What `make demo` runs: from training to a measured, proven bundle.
set -eu
cd "$(dirname "$0")"
echo "== train: scikit-learn's handwritten digits"
python train.py
echo "== edgeq build"
edgeq build --layers
echo "== edgeq eval"
edgeq eval
echo "== edgeq bench, on this computer"
edgeq bench build/rpi
echo
echo "A network this small is often faster in float on a PC; measure on the device itself."
echo "Everything lies in $(pwd)/build:"
echo "  build/rpi        copy it to a Raspberry Pi; its README.md has the three commands"
echo "  build/cortex-m4  C++ and C for TensorFlow Lite Micro; its README.md says how to use it"
echo "To go on from here: . ../../.venv/bin/activate; edgeq --help (in $(pwd))"
