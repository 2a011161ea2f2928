# Sourced by the scripts: make or reuse .venv beside this folder, install recon3d into it, put it on the PATH.
# Argument: the extras to install, e.g. "[test]".

cd "$(dirname "${BASH_SOURCE[0]}")/.."

find_python() {
    for candidate in "${PYTHON:-}" python3.13 python3.12 python3.11 python3 python; do
        [ -n "$candidate" ] || continue
        if "$candidate" -c 'import sys; sys.exit(not (3, 11) <= sys.version_info < (3, 14))' 2>/dev/null; then
            echo "$candidate"
            return
        fi
    done
    echo "recon3d needs Python 3.11, 3.12 or 3.13: install one, or name it with PYTHON=/path/to/python." >&2
    return 1
}

# What decides the installation; a change of it installs again.
stamp=".venv/recon3d-installed${1//[^a-z]/-}"
if [ ! -x .venv/bin/python ]; then
    python=$(find_python)
    "$python" -m venv .venv
fi
if [ ! -e "$stamp" ] || [ setup.cfg -nt "$stamp" ] || [ constraints.txt -nt "$stamp" ]; then
    echo "Installing recon3d into .venv (about 2 GB the first time) ..." >&2
    .venv/bin/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e ".$1"
    touch "$stamp"
fi
export PATH="$PWD/.venv/bin:$PATH"
