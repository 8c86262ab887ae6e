"""The GPU kernels without a GPU: interpreted, and compiled for machines that are not here."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from ulmus.errors import BackendError
from ulmus.kernels import backends, use_backend

HERE = Path(__file__).parent


def run_python(*arguments, interpret):
    pytest.importorskip("triton", reason="triton, which compiles GPU kernels, is not installed")
    path = os.pathsep.join([str(HERE), *filter(None, sys.path)])
    environment = {
        **os.environ,
        "TRITON_INTERPRET": interpret,
        "TRITON_DEFAULT_FP_FUSION": "1",
        "PYTHONPATH": path,
    }
    done = subprocess.run(
        [sys.executable, *arguments], env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    return done.stdout


def test_the_battery_passes_in_the_interpreter():
    printed = run_python(
        "-m", "pytest", "-q", "-p", "no:cacheprovider", str(HERE / "triton_battery.py"), interpret="1"
    )
    assert "passed" in printed
    assert "skipped" not in printed


@pytest.mark.skipif(torch.cuda.is_available(), reason="this machine has a GPU")
def test_without_the_interpreter_a_gpu_is_asked_for():
    found = {backend.name: backend for backend in backends()}["triton"]
    assert not found.available
    with pytest.raises(BackendError, match="triton"):
        use_backend("triton")


def test_the_largest_neuron_compiles_for_gpus_that_are_not_here():
    run_python("-c", "from test_triton import compile_for_gpus; compile_for_gpus()", interpret="0")


def compile_for_gpus():
    """Shared memory must fit what any GPU of compute capability 8.0 or newer has."""
    import triton
    from triton.backends.compiler import GPUTarget
    from triton.compiler import ASTSource

    from ulmus.kernels import triton_scan

    for kernel in (triton_scan._forward, triton_scan._backward):
        names = kernel.arg_names
        options = triton_scan._options(torch.empty(512, 256), "silu")
        launch = {name: options.pop(name) for name in ("num_warps", "num_stages")}
        whole = ("batch", "time", "memory", "hidden")
        types = {
            name: "constexpr" if name in options else "i32" if name in whole else "*fp32" for name in names
        }
        source = ASTSource(kernel, types, {(names.index(name),): value for name, value in options.items()})
        compiled = triton.compile(source, target=GPUTarget("cuda", 80, 32), options=launch)
        assert compiled.metadata.shared <= 99 * 1024
        assert compiled.asm["cubin"]
