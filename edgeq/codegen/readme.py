"""The README of a bundle, for the person who receives it and has no edgeq."""

from __future__ import annotations

from collections.abc import Sequence

from edgeq.codegen.aot import Compiled
from edgeq.codegen.aot.source import smallest_main
from edgeq.codegen.facts import Export, Footprint
from edgeq.codegen.kotlin import ASSET, object_name
from edgeq.codegen.python_runner import python_releases
from edgeq.codegen.text import comment, describe, markdown, prose
from edgeq.graph import Port

_LABELS_SHOWN = 20
FLAGS = ("-O2", "-ffunction-sections", "-fdata-sections")
"""What a network in C is compiled with, beside the core's own flags."""
COMPUTER_FLAGS = ("-O2", "-ffp-contract=off")
"""The same for computers; some of theirs fuse multiplications and additions of floats."""
_AOT_FOLDER = ("aot/", "the network in C, with its kernels; builds alone")


def readme(
    family: str,
    export: Export,
    *,
    target: str,
    proof: Sequence[str] = (),
    cflags: Sequence[str] = (),
    interpreter: str = "litert",
    pythons: Sequence[str] = (),
    compiled: Compiled | None = None,
    footprint: Footprint | None = None,
    serving: Sequence[str] = (),
) -> str:
    """Markdown: what the bundle holds, what to do with it, and the facts about the model.

    `target` is the target's title, `proof` what was verified, a line each, `cflags` what the
    compiler needs for a Cortex-M core, `interpreter` and `pythons` a Linux target's, `compiled` the
    network in C, on a computer instead of LiteRT, `footprint` what it takes of the core, `serving`
    the commands that run the firmware or the runner, where there is one.
    """
    if family == "cortex-m":
        commands, files = _cortex_m(export, cflags, compiled, footprint, serving)
    elif compiled is not None:
        commands, files = _computer(export, compiled, serving)
    elif family == "android":
        commands, files = _android(export)
    else:
        commands, files = _python(interpreter, pythons)
    listed = [
        ("manifest.json", "these facts for programs, and the SHA-256 of every file"),
        ("model.tflite", f"the model, {len(export.tflite)} bytes"),
        *(
            [("baseline_float32.tflite", "the same network in float, for comparison")]
            if export.has_baseline
            else []
        ),
        ("golden/", f"{len(export.golden)} inputs and the outputs that belong to them (.npz)"),
        *files,
    ]
    sections = [
        f"# {export.name}",
        f"A network, ready for: {prose(target)}. Built by edgeq {prose(export.version)}, in short "
        f"by {markdown(export.command)}. The model's SHA-256 is {markdown(export.sha256)}.",
        "## What to do now",
        commands,
        "## What was proved",
        _list(proof) if proof else "Nothing was verified when this bundle was built.",
        "## What the model takes and gives",
        _facts(export),
        "## What is in this folder",
        "| file | what it is |\n|---|---|\n" + "".join(f"| `{f}` | {w} |\n" for f, w in listed),
    ]
    return "\n\n".join(section.strip() for section in sections) + "\n"


def _list(lines: Sequence[str]) -> str:
    return "".join(f"- {prose(line)}\n" for line in lines)


def _facts(export: Export) -> str:
    rows = ["| | name | type, shape, quantization |", "|---|---|---|"]
    for side, ports in (("input", export.graph.inputs), ("output", export.graph.outputs)):
        for i, port in enumerate(ports):
            rows.append(f"| {side} {i} | {markdown(port.name)} | {describe(port.tensor)} |")
    text = "\n".join(rows) + "\n\nReal value = (stored value - zero point) * scale.\n"
    if export.labels:
        shown = ", ".join(markdown(label) for label in export.labels[:_LABELS_SHOWN])
        rest = len(export.labels) - _LABELS_SHOWN
        text += f"\nClasses, from 0: {shown}{f', and {rest} more' if rest > 0 else ''}.\n"
    if export.arena is not None:
        lines = " ".join(prose(line) for line in export.arena.lines())
        text += f"\nTensor arena: {export.arena.size} bytes. {lines}\n"
    return text + f"\nGolden outputs: {prose(export.golden.reference)}.\n"


def _python(interpreter: str, pythons: Sequence[str]) -> tuple[str, list[tuple[str, str]]]:
    # 32-bit Arm has no numpy on PyPI; the system's is seen through --system-site-packages.
    old = interpreter == "tflite-runtime"
    system = " --system-site-packages" if old else ""
    text = f"""\
{python_releases(interpreter, pythons)} is needed. In this folder, on the device:

    {"sudo apt install python3-numpy && " if old else ""}python3 -m venv{system} venv
    venv/bin/pip install -r requirements.txt
    venv/bin/python run.py

The last one runs the golden inputs and compares; each line must begin with PASS. After that,
`venv/bin/python run.py bench` measures, and `venv/bin/python run.py classify INPUT` takes an .npy,
an .npz or, where the manifest says how to scale pixels (and Pillow is there), an image.
"""
    return text, [
        ("run.py", "golden check, benchmark, classification; one file, needs no edgeq"),
        ("requirements.txt", "the packages that it needs"),
    ]


def _cortex_m(
    export: Export,
    cflags: Sequence[str],
    compiled: Compiled | None,
    footprint: Footprint | None,
    firmware: Sequence[str],
) -> tuple[str, list[tuple[str, str]]]:
    name = export.name

    def tensor(port: Port, side: str) -> str:
        return f"network.{side}(0)->data.{port.tensor.dtype}"

    flags = " ".join(comment(f) for f in (*cflags, "-O2", "-DTF_LITE_STATIC_MEMORY"))
    text = f"""\
{_firmware(firmware)}{_aot(export, compiled, footprint, cflags)}### With TensorFlow Lite Micro

With TensorFlow Lite Micro (github.com/tensorflow/tflite-micro) in $TFLM, in this folder:

    make -C $TFLM -f tensorflow/lite/micro/tools/make/Makefile TARGET=cortex_m_generic \\
        TARGET_ARCH={_tflm_arch(cflags)} OPTIMIZED_KERNEL_DIR=cmsis_nn microlite
    FLAGS="{flags}"
    D=$TFLM/tensorflow/lite/micro/tools/make/downloads
    arm-none-eabi-g++ $FLAGS -std=c++17 -fno-rtti -fno-exceptions -I$TFLM \\
        -I$D/flatbuffers/include -I$D/gemmlowp -c main.cc {name}_model_data.cc
    arm-none-eabi-g++ $FLAGS main.o {name}_model_data.o your_startup.o \\
        $TFLM/gen/cortex_m_generic_*/lib/libtensorflow-microlite.a -T your_board.ld -o check.elf

Flash check.elf and read what it prints: it must end with PASS. (That library prints nothing before
RegisterDebugLogCallback() was given a function that does.) edgeq's own checks ran with TensorFlow
Lite Micro of August 2026 (90b983c). Then your own firmware, in place of main.cc:

    #include "{name}_io.h"
    #include "{name}_model_data.h"
    #include "{name}_ops.h"
    #include "tensorflow/lite/micro/micro_interpreter.h"

    alignas(16) static uint8_t arena[kTensorArenaSize];
    static tflite::MicroMutableOpResolver<kNumberOperators> resolver;

    // once
    {name}_add_ops(resolver);
    static tflite::MicroInterpreter network(tflite::GetModel(g_{name}_model_data), resolver, arena,
                                            sizeof arena);
    network.AllocateTensors();  // must be kTfLiteOk, as must Invoke() below
    // for each input
    {name}_quantize_all_input_0(real_values, {tensor(export.graph.inputs[0], "input")});
    network.Invoke();
    {name}_dequantize_all_output_0({tensor(export.graph.outputs[0], "output")}, results);

Quantizing rounds as TFLite does. Where two of edgeq's models meet in one file, define
`EQ_NO_SHORT_NAMES`.
"""
    return text, [
        (f"{name}_model_data.h, .cc", "the model as an array in flash, aligned to 16 bytes"),
        (f"{name}_model_data.c", "the same in C99; compile one of the two"),
        (f"{name}_ops.h", "exactly the operators that it uses, for TensorFlow Lite Micro"),
        (f"{name}_io.h", "shapes, scales, labels, arena size, quantizing (C99 and C++11)"),
        (f"{name}_golden.h", "the golden vectors as arrays, for the check only"),
        ("edgeq_quantize.h", "rounding as TFLite does, without libm"),
        ("main.cc, edgeq_network.h", "the golden check as a program"),
        *([_AOT_FOLDER] if compiled else []),
        *(
            [("firmware/firmware.elf", "an image that answers edgeq bench on a serial line")]
            if firmware
            else []
        ),
    ]


def _computer(
    export: Export, compiled: Compiled, serving: Sequence[str]
) -> tuple[str, list[tuple[str, str]]]:
    """For a computer that runs the network in C."""
    flags = " ".join(COMPUTER_FLAGS)
    runner = ("runner", "a program that serves the network on stdin and stdout")
    text = f"""\
{_runner(serving)}### The network in C

The folder aot/ is all of it, in C99 without heap: {compiled.weights_size} bytes of constants, and
{compiled.plan.size} of memory to work in. Compile its .c files into your program, or make a library
of them, here with the device's own compiler (CC and AR name another one):

    make -C aot CFLAGS="{flags}"

{_calls(export)}"""
    return text, [_AOT_FOLDER, *([runner] if serving else [])]


def _runner(commands: Sequence[str]) -> str:
    if not commands:
        return ""
    lines = "".join(f"    {command}\n" for command in commands)
    return f"""\
### See it run

The program runner serves the network on its standard input and output; it is one static file and
needs no library. With edgeq, beside this folder: every golden output byte for byte, then what an
inference and each layer take.

{lines}
By hand, on the device:

    chmod +x runner
    ./runner

Then type `eq info%`, `eq run 10%` and so on, each with Enter; Ctrl-D ends it.

"""


def _firmware(commands: Sequence[str]) -> str:
    if not commands:
        return ""
    lines = "".join(f"    {command}\n" for command in commands)
    return f"""\
### See it run

firmware/firmware.elf serves the network on a serial line. With edgeq, beside this folder: every
golden output byte for byte, then what an inference and each layer take.

{lines}
"""


def _aot(
    export: Export,
    compiled: Compiled | None,
    footprint: Footprint | None,
    cflags: Sequence[str],
) -> str:
    if compiled is None:
        return ""
    flags = " ".join(comment(f) for f in (*FLAGS, *cflags))
    return f"""\
### Without any library: the network in C

The folder aot/ is all of it, in C99 without heap. Compile its .c files into your firmware and let
the linker drop what is not called (`-Wl,--gc-sections`), or make a library of them:

    make -C aot CC=arm-none-eabi-gcc AR=arm-none-eabi-ar CFLAGS="{flags}"

{_calls(export, _footprint(export, compiled, footprint))}
{_several(export.name, flags)}"""


def _calls(export: Export, sizes: str = "") -> str:
    """How the network in C is called."""
    name, upper = export.name, export.name.upper()
    main = "".join(f"    {line}".rstrip() + "\n" for line in smallest_main(export).splitlines())
    return f"""\
The smallest main. `{name}_io.h` has shapes, scales and labels. {_quantizing(export)}

{main}
{sizes}
With memory of your own, which other code may use between two calls; leave `{name}_run.c` out then:

    #include "{name}.h"
    #include <string.h>

    static uint8_t arena[{upper}_ARENA_SIZE] EQ_ALIGNED;

    eq_model_init(&{name}_model, arena, sizeof arena);               // once
    memcpy(eq_model_input(&{name}_model, arena, 0), stored, {name}_model.inputs[0].bytes);
    eq_model_invoke(&{name}_model, arena);
    result = eq_model_output(&{name}_model, arena, 0);               // until the next call

It gives TensorFlow Lite Micro's bytes; `{name}_golden.h` has the golden vectors to check it with.
"""


def _quantizing(export: Export) -> str:
    ports = (export.graph.inputs[0], export.graph.outputs[0])
    if any(port.tensor.quantization is None for port in ports):
        return ""
    return f"""\
What the network takes and gives are stored
values: `{export.name}_quantize_all_input_0(real, stored)` of that file makes them of real ones, and
`{export.name}_dequantize_all_output_0(stored, real)` real ones of them."""


def _several(name: str, flags: str) -> str:
    other = "second" if name == "other" else "other"
    tools = 'CC=arm-none-eabi-gcc AR=arm-none-eabi-ar CFLAGS="$FLAGS"'
    return f"""\
#### Several networks in one firmware

Build them with one edgeq and under different names (`--name`). With this bundle in the folder
{name}/ and another's in {other}/, each makes a library; these link in any order:

    FLAGS="{flags}"
    make -C {name}/aot {tools}
    make -C {other}/aot {tools}
    arm-none-eabi-gcc $FLAGS -I{name}/aot -I{other}/aot main.c your_startup.c \\
        {name}/aot/lib{name}_network.a {other}/aot/lib{other}_network.a \\
        -Wl,--gc-sections -T your_board.ld -o firmware.elf

With CMake, after add_executable(firmware ...) in your CMakeLists.txt:

    add_subdirectory({name}/aot {name})
    add_subdirectory({other}/aot {other})
    target_link_libraries(firmware PRIVATE {name}_network {other}_network)

Or compile the .c files of one folder that has both, where a kernel that both use is one file:

    mkdir networks
    cp {name}/aot/*.[ch] networks/
    cp {other}/aot/*.[ch] networks/

Networks of edgeq's whose runtimes differ do not build together: the compiler says that {name}
"was generated for another version of edgeq.h", or the linker that eq_model_init is defined twice.
A file that includes two `_io.h` defines `EQ_NO_SHORT_NAMES` before.

"""


def _footprint(export: Export, compiled: Compiled, footprint: Footprint | None) -> str:
    run = f"`{export.name}_run`"
    if footprint is None:
        return f"""\
Its weights take {compiled.weights_size} bytes of flash, its arena {compiled.plan.size} of RAM. Code
and stack were not measured: that needs an arm-none-eabi-gcc with its C library where the bundle is
built. Install them (`edgeq doctor` has the line) and build again.
"""
    unknown = "not known: a call through a pointer, or a function of the C library, is in the way"
    stack = unknown if footprint.stack is None else f"{footprint.stack} bytes"
    code = footprint.flash - footprint.weights
    return f"""\
| {run} takes | of the core |
|---|---|
| flash | {footprint.flash} bytes: {footprint.weights} of weights, {code} of code and tables |
| RAM | {footprint.ram} bytes, of which the arena is {compiled.plan.size} |
| stack | {stack} |

Measured with {prose(footprint.compiler)} and these flags. Flash and RAM are what
arm-none-eabi-size says of an image that holds {run}, all that it calls (the C library's memcpy too)
and nothing else; your input and output arrays are not in it. The stack is that of the deepest chain
of calls, each function with the frame that -fstack-usage gives; interrupts come on top.
"""


def _tflm_arch(cflags: Sequence[str]) -> str:
    """TARGET_ARCH of TFLM's cortex_m_generic_makefile.inc."""
    core = next((f[len("-mcpu=") :] for f in cflags if f.startswith("-mcpu=")), "cortex-m4")
    # For these two the plain name means a core without its FPU.
    hard = "-mfloat-abi=hard" in cflags and core in ("cortex-m4", "cortex-m7")
    return comment(core + "+fp" if hard else core)


def _android(export: Export) -> tuple[str, list[tuple[str, str]]]:
    name = object_name(export.name)
    text = f"""\
In the folder of the app's module (here: app), with this folder as $B:

    mkdir -p app/src/main/assets app/src/main/java/edgeq app/src/androidTest/assets
    cp $B/{ASSET} app/src/main/assets/ && cp $B/*.kt app/src/main/java/edgeq/
    cp -r $B/golden app/src/androidTest/assets/

`{name}.kt` opens with the lines that add LiteRT to the app and run the model. In an instrumented
test, feed each sample of golden/in_*.bin and compare with golden/out_*.bin.
"""
    return text, [
        (f"{name}.kt", "shapes, scales, labels, SHA-256, quantizing"),
        ("Quantize.kt", "rounding as TFLite does"),
        ("golden/*.bin", "the golden vectors as raw bytes, little-endian, samples in a row"),
    ]
