//! Kernel parameters, the kernel's version and the GPU's firmware.

use super::known::{KNOWN, Known, What, package_date, version_below};
use super::{Check, Distribution, Facts, Seen, ask, fix, list};

pub(super) fn checks(facts: &Facts) -> Vec<Check> {
    vec![parameters(facts), iommu(facts), kernel(facts), firmware(facts)]
}

/// The value of a parameter: of the last one where it stands several times, as the kernel takes it.
fn value<'a>(line: &'a str, name: &str) -> Option<&'a str> {
    let of = |word: &'a str| word.strip_prefix(name)?.strip_prefix('=');
    line.split_whitespace().filter_map(of).next_back()
}

fn parameters(facts: &Facts) -> Check {
    let asked = ask(
        "kernel_parameters",
        "Kernel parameters for the GPU",
        "ttm.pages_limit alone, without amdgpu.gttsize",
        "amdgpu.gttsize is deprecated, and setting both is advised against: which of the two counts differs between kernels.",
    );
    if facts.graphics.amd_cards == 0 {
        return asked.skip("There is no AMD GPU.");
    }
    let line = match &facts.kernel.command_line {
        Ok(line) => line,
        Err(reason) => return asked.skip(reason.clone()),
    };
    let module = if facts.kernel.amdttm { "amdttm" } else { "ttm" };
    let gttsize = value(line, "amdgpu.gttsize");
    let pages: Vec<&str> = ["ttm.pages_limit", "amdttm.pages_limit"]
        .into_iter()
        .filter(|name| value(line, name).is_some())
        .collect();
    let own = format!("{module}.pages_limit");
    if let Some(mib) = gttsize {
        // The same cap in the parameter that stays: MiB are 256 pages.
        let keep = mib.parse::<u64>().ok().filter(|m| *m > 0).and_then(|m| m.checked_mul(256));
        let add: Vec<String> = match (pages.is_empty(), keep) {
            (true, Some(pages)) => vec![format!("{own}={pages}")],
            _ => Vec::new(),
        };
        let both = if pages.is_empty() { String::new() } else { format!(" and {}", pages.join(" and ")) };
        return asked.warn(
            format!("amdgpu.gttsize={mib}{both}"),
            fix::kernel_parameters(facts.distribution, &add, &["amdgpu.gttsize"]),
        );
    }
    let (of_this, of_other): (Vec<&str>, Vec<&str>) = pages.iter().partition(|name| **name == own);
    if let ([], Some(other)) = (of_this.as_slice(), of_other.first()) {
        let add = value(line, other).map(|pages| format!("{own}={pages}"));
        return asked
            .because(format!("This kernel's module is called {module}, so {other} changes nothing."))
            .warn(
                (*other).to_owned(),
                fix::kernel_parameters(facts.distribution, &Vec::from_iter(add), &[other]),
            );
    }
    asked.pass(match value(line, &own) {
        Some(pages) => format!("{own}={pages}"),
        None => "None set".to_owned(),
    })
}

fn iommu(facts: &Facts) -> Check {
    let asked = ask(
        "iommu",
        "IOMMU",
        "Either; a valid value",
        "amd_iommu=off was measured 5 to 12 % faster and takes the NPU away. It is not needed.",
    );
    if !facts.graphics.strix_halo {
        return asked.skip("Nothing is known of it for this GPU.");
    }
    let line = match &facts.kernel.command_line {
        Ok(line) => line,
        Err(reason) => return asked.skip(reason.clone()),
    };
    match value(line, "amd_iommu") {
        Some("off") => asked.pass("Off, so the NPU cannot be used"),
        Some("pt") => asked
            .because("amd_iommu=pt is no valid value and changes nothing; the parameter is iommu=pt.")
            .warn(
                "amd_iommu=pt",
                fix::kernel_parameters(facts.distribution, &["iommu=pt".to_owned()], &["amd_iommu"]),
            ),
        Some(other) => asked.pass(format!("amd_iommu={other}")),
        None => asked.pass(value(line, "iommu").map_or_else(|| "On".to_owned(), |v| format!("iommu={v}"))),
    }
}

fn kernel(facts: &Facts) -> Check {
    let bad = KNOWN.iter().filter_map(|known| match known.what {
        What::KernelBelow(version) => Some((known, version)),
        _ => None,
    });
    let newest = bad.clone().map(|(_, v)| v).max().unwrap_or_default();
    let asked = ask(
        "kernel",
        "Kernel",
        format!("{}.{}.{} or newer, on Strix Halo", newest[0], newest[1], newest[2]),
        "Agents run on whatever the GPU's driver can do.",
    );
    let release = match &facts.kernel.release {
        Ok(release) => release,
        Err(reason) => return asked.skip(reason.clone()),
    };
    if !facts.graphics.strix_halo {
        return asked.skip(format!("{release}; nothing is known of it for this GPU"));
    }
    let mut bad = bad;
    match bad.find(|(_, version)| version_below(release, *version) == Some(true)) {
        Some((known, _)) => {
            asked.because(cited(known)).warn(release.clone(), fix::update(facts.distribution))
        }
        None => asked.pass(release.clone()),
    }
}

fn cited(known: &Known) -> String {
    format!("{} ({}, {})", known.says, known.source, known.date)
}

fn firmware(facts: &Facts) -> Check {
    let asked = ask(
        "firmware",
        "GPU firmware",
        "None that is known to hang the GPU",
        "The firmware of the GPU comes with the package linux-firmware and is loaded at boot.",
    );
    if !facts.graphics.strix_halo {
        return asked.skip("Nothing is known of it for this GPU.");
    }
    let package: &Seen<String> = &facts.kernel.firmware_package;
    let mes = facts.graphics.mes_firmware;
    if let (Err(reason), None) = (package, mes) {
        return asked.skip(reason.clone());
    }
    let date = package.as_deref().ok().and_then(package_date);
    let is_bad = |known: &&Known| match known.what {
        What::FirmwarePackage(bad) => date == Some(bad),
        What::MesFirmware(bad) => mes == Some(bad),
        What::KernelBelow(_) => false,
    };
    let mut found: Vec<String> = Vec::new();
    found.extend(package.as_ref().ok().map(|version| format!("linux-firmware {version}")));
    found.extend(mes.map(|version| format!("MES {version:#x}")));
    match KNOWN.iter().find(is_bad) {
        Some(known) => asked.because(cited(known)).fail(list(&found), other_firmware(facts.distribution)),
        None => asked.pass(list(&found)),
    }
}

/// To a version that is not the recalled one.
fn other_firmware(on: Distribution) -> &'static str {
    match on {
        Distribution::Fedora => {
            "sudo dnf upgrade --refresh linux-firmware amd-gpu-firmware\n# Where that still brings 20251125, go back instead:\nsudo dnf install fedora-repos-archive\nsudo dnf --enablerepo=updates-archive downgrade amd-gpu-firmware-20251111\nsudo dracut -f\nsudo reboot"
        }
        Distribution::Debian => {
            "sudo apt update && sudo apt full-upgrade\nsudo update-initramfs -u\nsudo reboot"
        }
        _ => fix::update(on),
    }
}
