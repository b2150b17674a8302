#!/usr/bin/env bash
# PyTorch 2.9.0, the version that burn's LibTorch backend is built against, in a virtual environment of its own.
# Prints the variables to set, so that a shell is ready to build and run with
#
#     eval "$(tools/install_libtorch.sh)"
#
# The environment lies in $CONTEXTLM_CACHE/torch (default ~/.cache/contextlm/torch) and takes about 7 GB.
set -euo pipefail

cache="${CONTEXTLM_CACHE:-$HOME/.cache/contextlm}"
venv="$cache/torch"
version=2.9.0

installed() {
    # The build without CUDA calls itself 2.9.0+cpu.
    "$venv/bin/python" -c "import numpy, setuptools, torch; assert torch.__version__.split('+')[0] == '$version'" 2>/dev/null
}

if ! installed; then
    mkdir -p "$cache"
    python3 -m venv "$venv" >&2
    "$venv/bin/python" -m pip install --quiet --disable-pip-version-check "torch==$version" numpy setuptools >&2
    installed || { echo "install_libtorch.sh: $venv has no working PyTorch $version" >&2; exit 1; }
fi

lib=$("$venv/bin/python" -c 'import pathlib, torch; print(pathlib.Path(torch.__file__).parent / "lib")')
# For the shell that reads this: torch-sys asks the first python3 of the PATH where PyTorch is, and programs load it
# from LD_LIBRARY_PATH.
# shellcheck disable=SC2016
printf 'export PATH=%q:"$PATH"\n' "$venv/bin"
printf 'export LIBTORCH_USE_PYTORCH=1\n'
# shellcheck disable=SC2016
printf 'export LD_LIBRARY_PATH=%q"${LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH}"\n' "$lib"
