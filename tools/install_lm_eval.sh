#!/usr/bin/env bash
# lm-evaluation-harness 0.4.13 with transformers 4.57.1, for tools/check_lm_eval.py, in a virtual environment of its own
# that uses the PyTorch of tools/install_libtorch.sh. Prints the Python to run it with:
#
#     python=$(tools/install_lm_eval.sh) && "$python" tools/check_lm_eval.py target/debug/contextlm
#
# The environment lies in $CONTEXTLM_CACHE/lm-eval (default ~/.cache/contextlm/lm-eval) and takes about 700 MB.
set -euo pipefail
cd "$(dirname "$0")/.."

cache="${CONTEXTLM_CACHE:-$HOME/.cache/contextlm}"
venv="$cache/lm-eval"
packages=(lm-eval==0.4.13 transformers==4.57.1 accelerate==1.14.0 datasets==5.0.1)

# What pip has installed, by its folders: quicker than to import it all.
installed() {
    local site=$1
    compgen -G "$site/lm_eval-0.4.13.dist-info" && compgen -G "$site/accelerate-1.14.0.dist-info" &&
        compgen -G "$site/datasets-5.0.1.dist-info" && "$venv/bin/python" -c '
from importlib.metadata import version
assert version("torch").split("+")[0] == "2.9.0" and version("transformers") == "4.57.1"'
}

site() { "$1" -c 'import sysconfig; print(sysconfig.get_path("purelib"))'; }

if ! { [[ -x "$venv/bin/python" ]] && installed "$(site "$venv/bin/python")" >/dev/null 2>&1; }; then
    tools/install_libtorch.sh >/dev/null
    "$cache/torch/bin/python" -m venv "$venv" >&2
    site "$cache/torch/bin/python" >"$(site "$venv/bin/python")/torch.pth"
    "$venv/bin/python" -m pip install --quiet --disable-pip-version-check "${packages[@]}" >&2
    installed "$(site "$venv/bin/python")" >/dev/null || { echo "install_lm_eval.sh: $venv is not complete" >&2; exit 1; }
fi
echo "$venv/bin/python"
