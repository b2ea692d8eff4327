# shellcheck shell=bash
# Words on the terminal: steps with their time, questions, and the one way to give up.
# Sourced by every script; knows nothing about Asgard.

if [ -t 1 ] && [ -z "${NO_COLOR:-}" ]; then
    bold=$'\e[1m' dim=$'\e[2m' red=$'\e[31m' plain=$'\e[0m'
else
    bold='' dim='' red='' plain=''
fi

# 7 -> "7 s", 192 -> "3 min 12 s"
duration() {
    local seconds=$1
    if [ "$seconds" -lt 60 ]; then
        printf '%s s' "$seconds"
    else
        printf '%s min %s s' $((seconds / 60)) $((seconds % 60))
    fi
}

# What happened, then what to do.
fail() {
    printf '%s%s%s\n' "$red" "$1" "$plain" >&2
    shift
    [ $# -eq 0 ] || printf '%s\n' "$@" >&2
    exit 1
}

# Not $SECONDS: `make soak SECONDS=600` would land in it.
now() { printf '%s' "$EPOCHSECONDS"; }

steps_total=0
step_number=0
step_title=''
step_began=0

steps() { steps_total=$1; }

# [2/5] npm packages …
step() {
    step_number=$((step_number + 1))
    step_title=$1
    step_began=$(now)
}

step_line() { printf '%s[%s/%s] %s …%s' "$bold" "$step_number" "$steps_total" "$step_title" "$plain"; }

# Said only when a step has work to do, before that work prints.
step_works() { printf '%s%s\n' "$(step_line)" "${1:+ $1}"; }

step_done() {
    printf '%s %s%s\n' "$(step_line)" "$(duration $(($(now) - step_began)))" "${1:+, $1}"
}

# Yes when there is no terminal to ask at: a fresh machine in a pipeline must get through.
ask() {
    local answer
    if [ ! -t 0 ] || [ ! -t 1 ]; then
        printf '%s No terminal to ask at: yes.\n' "$1"
        return 0
    fi
    printf '%s [Y/n] ' "$1"
    read -r answer || return 1
    case "$answer" in
        '' | [yY]*) return 0 ;;
        *) return 1 ;;
    esac
}
