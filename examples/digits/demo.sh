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
echo "A PC says little about a device: measure there, or count in the emulator."
echo "Everything lies in $(pwd)/build:"
echo "  build/rpi        copy it to a Raspberry Pi; its README.md has the three commands"
echo "  build/cortex-m4  the network in C99, and exported for TensorFlow Lite Micro; see its README.md"
echo "To go on from here: . ../../.venv/bin/activate; edgeq --help (in $(pwd))"
