#!/usr/bin/env bash
# Installs lvmfast: the version that is asked for, or else the one that this action belongs to.
set -euo pipefail
if [ -z "${VERSION:-}" ]; then
    VERSION=$(sed -n 's/^version = "\(.*\)"$/\1/p' "$GITHUB_ACTION_PATH/Cargo.toml" | head -n 1)
fi
python -m pip install --quiet "lvmfast==$VERSION"
