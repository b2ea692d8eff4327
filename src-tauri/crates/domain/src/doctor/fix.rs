//! Commands to copy, in the words of the distribution.

use std::fmt::Write as _;

use super::Distribution;
use crate::memory::Bytes;

/// A text as one word of a shell.
pub(super) fn quoted(text: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "/._-:@=+,".contains(c);
    if !text.is_empty() && text.chars().all(plain) {
        text.to_owned()
    } else {
        format!("'{}'", text.replace('\'', "'\\''"))
    }
}

/// Adds parameters to the kernel's command line, or takes them away by name. In force after the next boot.
pub(super) fn kernel_parameters(on: Distribution, add: &[String], remove: &[&str]) -> String {
    let mut lines: Vec<String> = Vec::new();
    match on {
        Distribution::Fedora => {
            let mut line = "sudo grubby --update-kernel=ALL".to_owned();
            if !remove.is_empty() {
                let _ = write!(line, " --remove-args={}", quoted(&remove.join(" ")));
            }
            if !add.is_empty() {
                let _ = write!(line, " --args={}", quoted(&add.join(" ")));
            }
            lines.push(line);
        }
        Distribution::Debian | Distribution::Suse | Distribution::Arch => {
            for name in remove {
                let pattern = name.replace('.', "\\.");
                lines.push(format!("sudo sed -i -E 's/ ?{pattern}=[^ \"]*//g' /etc/default/grub"));
            }
            if !add.is_empty() {
                let words = add.join(" ");
                lines.push(format!(
                    "sudo sed -i -E 's/^(GRUB_CMDLINE_LINUX_DEFAULT=\")/\\1{words} /' /etc/default/grub"
                ));
            }
            lines.push(
                match on {
                    Distribution::Debian => "sudo update-grub",
                    Distribution::Suse => "sudo grub2-mkconfig -o /boot/grub2/grub.cfg",
                    _ => "sudo grub-mkconfig -o /boot/grub/grub.cfg",
                }
                .to_owned(),
            );
        }
        Distribution::Other => {
            lines.push("# In the boot loader's settings, on the kernel's command line:".to_owned());
            lines.extend(remove.iter().map(|name| format!("# take away {name}=…")));
            lines.extend(add.iter().map(|word| format!("# add {word}")));
        }
    }
    lines.push("sudo reboot".to_owned());
    lines.join("\n")
}

/// Installs a package.
pub(super) fn install(on: Distribution, package: &str) -> String {
    match on {
        Distribution::Debian => format!("sudo apt install {package}"),
        Distribution::Fedora => format!("sudo dnf install {package}"),
        Distribution::Arch => format!("sudo pacman -S {package}"),
        Distribution::Suse => format!("sudo zypper install {package}"),
        Distribution::Other => format!("# Install the package {package} with the distribution's own tool."),
    }
}

/// Brings all packages up to date.
pub(super) fn update(on: Distribution) -> &'static str {
    match on {
        Distribution::Debian => "sudo apt update && sudo apt full-upgrade\nsudo reboot",
        Distribution::Fedora => "sudo dnf upgrade\nsudo reboot",
        Distribution::Arch => "sudo pacman -Syu\nsudo reboot",
        Distribution::Suse => "sudo zypper dup\nsudo reboot",
        Distribution::Other => "# Bring the kernel and linux-firmware up to date, then:\nsudo reboot",
    }
}

/// A further swap file of this size, for good. `fallocate` makes files with holes on some file systems, which cannot be
/// swapped to, so the file is written out.
pub(super) fn swap_file(size: Bytes, root_file_system: Option<&str>) -> String {
    let gib = size.0.div_ceil(crate::memory::GIB).max(1);
    let file = "/swapfile-asgard";
    let make = if root_file_system == Some("btrfs") {
        format!("sudo btrfs filesystem mkswapfile --size {gib}g {file}")
    } else {
        format!(
            "sudo dd if=/dev/zero of={file} bs=1M count={} status=progress\nsudo chmod 600 {file} && sudo mkswap {file}",
            gib * 1024
        )
    };
    format!("{make}\nsudo swapon {file}\necho '{file} none swap sw 0 0' | sudo tee -a /etc/fstab")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_of_a_shell_stay_words() {
        assert_eq!(quoted("/dev/kfd"), "/dev/kfd");
        assert_eq!(quoted("a b"), "'a b'");
        assert_eq!(quoted("it's; rm -rf"), "'it'\\''s; rm -rf'");
        assert_eq!(quoted(""), "''");
    }

    #[test]
    fn kernel_parameters_in_each_distributions_words() {
        let add = ["ttm.pages_limit=32505856".to_owned()];
        let fedora = kernel_parameters(Distribution::Fedora, &add, &["amdgpu.gttsize"]);
        assert_eq!(
            fedora,
            "sudo grubby --update-kernel=ALL --remove-args=amdgpu.gttsize --args=ttm.pages_limit=32505856\nsudo reboot"
        );
        let debian = kernel_parameters(Distribution::Debian, &add, &["amdgpu.gttsize"]);
        assert_eq!(
            debian,
            "sudo sed -i -E 's/ ?amdgpu\\.gttsize=[^ \"]*//g' /etc/default/grub\n\
             sudo sed -i -E 's/^(GRUB_CMDLINE_LINUX_DEFAULT=\")/\\1ttm.pages_limit=32505856 /' /etc/default/grub\n\
             sudo update-grub\nsudo reboot"
        );
        for on in [Distribution::Arch, Distribution::Suse, Distribution::Other] {
            let text = kernel_parameters(on, &add, &["amdgpu.gttsize"]);
            assert!(text.contains("32505856") && text.contains("gttsize"), "{text}");
        }
    }

    #[test]
    fn a_swap_file_on_btrfs_is_made_by_its_own_tool() {
        assert!(
            swap_file(Bytes::gb(16.0), Some("btrfs"))
                .starts_with("sudo btrfs filesystem mkswapfile --size 16g")
        );
        assert!(swap_file(Bytes::gb(15.5), Some("ext4")).contains("count=16384"));
        assert!(swap_file(Bytes::ZERO, None).contains("count=1024"));
    }
}
