# shellcheck shell=bash
# Where Asgard is installed for one user. Sourced by scripts/install and scripts/uninstall.

prefix=${PREFIX:-$HOME/.local}
[[ $prefix == /* ]] || prefix=$PWD/$prefix
if [ -n "${XDG_DATA_HOME:-}" ]; then
    share=$XDG_DATA_HOME
else
    share=$prefix/share
fi
bin=$prefix/bin
libexec=$prefix/libexec/asgard
# One line for each file placed: its checksum, two spaces, its path.
manifest=$libexec/manifest
