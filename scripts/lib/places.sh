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
# One line for each thing placed, in order: a file's checksum or the word `folder`, two spaces, its path.
manifest=$libexec/manifest

same_as_placed() { [ -f "$2" ] && [ "$(sha256sum <"$2" | cut -d ' ' -f 1)" = "$1" ]; }
