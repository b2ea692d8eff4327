# shellcheck shell=bash
# System packages: which ones each family of distributions needs, which are missing here, and the exact
# command that brings them. Sourced. The command is always printed before it is run.

os_release=${OS_RELEASE:-/etc/os-release}

# One value of an os-release file, read and not executed.
os_value() {
    sed -n "s/^$1=//p" "$os_release" | head -n 1 | tr -d "\"'"
}

# apt, dnf, pacman, or nothing where the distribution is not known.
package_family() {
    [ -r "$os_release" ] || return 0
    local name
    for name in $(os_value ID) $(os_value ID_LIKE); do
        case "$name" in
            debian | ubuntu) echo apt && return ;;
            fedora | rhel) echo dnf && return ;;
            arch) echo pacman && return ;;
        esac
    done
}

# What building and running needs. The WebKit package brings GTK, soup and D-Bus with it.
build_packages() {
    case "$1" in
        apt) echo build-essential pkg-config libwebkit2gtk-4.1-dev curl ca-certificates xz-utils ;;
        dnf) echo gcc make glibc-static pkgconf-pkg-config webkit2gtk4.1-devel curl ca-certificates tar xz ;;
        pacman) echo base-devel webkit2gtk-4.1 curl ca-certificates xz ;;
    esac
}

# What the tests need on top: a screen without a monitor, a driver for the window, a browser, an engine.
test_packages() {
    case "$1" in
        apt)
            echo xvfb xauth webkit2gtk-driver xdotool imagemagick x11-utils fonts-dejavu-core \
                dbus python3-dbus python3-gi python3-venv docker.io iptables busybox-static \
                desktop-file-utils procps unzip podman runc containernetworking-plugins netavark aardvark-dns \
                slirp4netns uidmap docker-registry docker-compose libfaketime
            # Ubuntu's chromium is a snap, which a container or a build machine cannot install.
            [ "$(os_value ID)" = ubuntu ] || echo chromium
            ;;
        dnf)
            echo xorg-x11-server-Xvfb xorg-x11-xauth webkitgtk6.0 xdotool ImageMagick xwininfo xprop \
                dejavu-sans-fonts dbus-daemon python3-dbus python3-gobject-base chromium moby-engine \
                iptables-nft busybox desktop-file-utils procps-ng unzip podman runc netavark aardvark-dns \
                slirp4netns shadow-utils docker-distribution docker-compose libfaketime
            ;;
        pacman)
            echo xorg-server-xvfb xorg-xauth webkitgtk-6.0 xdotool imagemagick xorg-xwininfo xorg-xprop \
                ttf-dejavu dbus python-dbus python-gobject chromium docker iptables busybox \
                desktop-file-utils procps-ng unzip podman runc netavark aardvark-dns slirp4netns shadow \
                docker-compose libfaketime
            ;;
    esac
}

# What the benchmarks compare the gateway with, on top of what the tests need.
bench_packages() {
    case "$1" in
        apt) echo nginx-light haproxy aria2 curl ;;
        dnf | pacman) echo nginx haproxy aria2 curl ;;
    esac
}

# Debian starts the servers that it installs, and a benchmark is no wish for a web server on port 80.
stand_down() {
    local name
    [ -d /run/systemd/system ] || return 0
    for name; do
        case "$name" in
            nginx*) ${as_root}systemctl disable --quiet --now nginx || true ;;
            haproxy) ${as_root}systemctl disable --quiet --now haproxy || true ;;
        esac
    done
}

# The command that shows that a package is not needed, where another package may have brought it: installing
# Debian's Docker over Docker's own, or its static busybox over the plain one, would remove what is there.
command_of() {
    case "$1" in
        docker.io | docker | moby-engine) echo dockerd ;;
        chromium) echo chromium ;;
        busybox | busybox-static) echo busybox ;;
        iptables | iptables-nft) echo iptables ;;
        curl) echo curl ;;
        docker-compose) echo docker-compose ;;
        podman) echo podman ;;
        runc) echo runc ;;
        docker-registry | docker-distribution) echo docker-registry ;;
        nginx | nginx-light) echo nginx ;;
        haproxy) echo haproxy ;;
    esac
}

# Debian keeps some of these out of an ordinary user's PATH.
has_command() { [ -n "$1" ] && PATH=$PATH:/usr/sbin:/sbin command -v "$1" >/dev/null; }

# Of the packages named, those that this machine lacks.
missing_packages() {
    local name
    for name in $(absent_packages "$@"); do
        has_command "$(command_of "$name")" || echo "$name"
    done
}

# Of the packages named, those that are not installed. A package that another one provides counts as installed.
absent_packages() {
    local family=$1 name here
    shift
    case "$family" in
        apt)
            here=$(dpkg-query -W -f '${db:Status-Abbrev}|${Package}, ${Provides}\n' 2>/dev/null |
                sed -n 's/^ii *|//p' | sed 's/ ([^)]*)//g' | tr -s ', ' '\n')
            for name; do grep -qxF -- "$name" <<<"$here" || echo "$name"; done
            ;;
        dnf) for name; do rpm -q --whatprovides -- "$name" >/dev/null 2>&1 || echo "$name"; done ;;
        pacman) pacman -T -- "$@" || true ;;
    esac
}

# The command as an administrator would type it.
install_command() {
    local family=$1
    shift
    case "$family" in
        apt) echo "env DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends -o DPkg::Lock::Timeout=900 $*" ;;
        dnf) echo "dnf install -y --setopt=install_weak_deps=False $*" ;;
        pacman) echo "pacman -S --needed --noconfirm $*" ;;
    esac
}

# Root, then sudo after a question, then a sentence that says what to type.
become_root() {
    if [ "$(id -u)" -eq 0 ]; then
        as_root=''
    elif ! command -v sudo >/dev/null; then
        fail "System packages are missing and there is no sudo." "Run this as root, then try again: $1"
    elif [ -t 0 ] && [ -t 1 ]; then
        ask "Run it with sudo?" || fail "System packages are missing." "Run this, then try again: sudo $1"
        as_root='sudo '
    elif sudo -n true 2>/dev/null; then
        as_root='sudo -n '
    else
        fail "System packages are missing, and sudo would ask for a password where there is no terminal." \
            "Run this, then try again: sudo $1"
    fi
}

# shellcheck disable=SC2086 # a command is made of words
carry_out() {
    local family=$1
    shift
    if [ "$family" = apt ]; then
        # An image that was made small has no lists at all.
        compgen -G '/var/lib/apt/lists/*_Packages*' >/dev/null || ${as_root}apt-get update -q
        ${as_root}$(install_command apt "$@") && return
        # Old lists or an install that was cut short: both are mended once.
        printf 'Trying once more, with what an interrupted install left finished and with fresh lists.\n'
        ${as_root}env DEBIAN_FRONTEND=noninteractive dpkg --configure -a
        ${as_root}apt-get update -q
    fi
    ${as_root}$(install_command "$family" "$@")
}

# One at a time: two package installs at once break each other.
install_packages() {
    local lock=/run/lock/asgard-packages.lock
    : 2>/dev/null >>"$lock" || { mkdir -p target && lock=target/packages.lock; }
    (
        flock -w 1800 9 || fail "Another install of system packages has been running for half an hour." "Wait for it to end, then try again."
        carry_out "$@" </dev/null
    ) 9>>"$lock"
}
