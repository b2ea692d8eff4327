//! The GPU's device files, as a container would see them.

use super::{Check, DeviceNode, Facts, ask, fix, list};

pub(super) fn checks(facts: &Facts) -> Vec<Check> {
    vec![kfd(facts), render(facts), groups(facts), nvidia(facts)]
}

/// Why a check of AMD's device files says nothing here.
fn beside_the_point(facts: &Facts) -> Option<&'static str> {
    (facts.graphics.amd_cards == 0).then_some("There is no AMD GPU.")
}

fn kfd(facts: &Facts) -> Check {
    let asked = ask(
        "kfd",
        "/dev/kfd",
        "It exists",
        "Compute work reaches an AMD GPU through it; without it no agent on ROCm starts. Vulkan does without.",
    );
    match (beside_the_point(facts), &facts.devices) {
        (Some(reason), _) => asked.skip(reason),
        (None, Err(reason)) => asked.skip(reason.clone()),
        (None, Ok(devices)) if devices.kfd.is_some() => asked.pass("It exists"),
        (None, Ok(_)) => asked.fail(
            "It does not exist",
            format!(
                "sudo modprobe amdgpu\n# If it is still missing, the kernel is too old for this GPU:\n{}",
                fix::update(facts.distribution)
            ),
        ),
    }
}

fn render(facts: &Facts) -> Check {
    let asked = ask(
        "render_nodes",
        "Render nodes",
        "/dev/dri/renderD128 or the like",
        "Every way to use the GPU opens one, Vulkan included.",
    );
    match (beside_the_point(facts), &facts.devices) {
        (Some(reason), _) => asked.skip(reason),
        (None, Err(reason)) => asked.skip(reason.clone()),
        (None, Ok(devices)) if devices.render.is_empty() => {
            asked.fail("None", "sudo modprobe amdgpu\nls -l /dev/dri")
        }
        (None, Ok(devices)) => {
            asked.pass(list(&devices.render.iter().map(|n| n.path.clone()).collect::<Vec<_>>()))
        }
    }
}

fn group(node: &DeviceNode) -> String {
    node.group_name.as_ref().map_or_else(|| node.group.to_string(), |name| format!("{name} ({})", node.group))
}

fn groups(facts: &Facts) -> Check {
    let engine = facts.engine.as_ref().ok().filter(|e| e.error.is_none());
    let rootless = engine.is_some_and(|e| e.rootless);
    let (wanted, why) = if rootless {
        (
            "This user may open the GPU's device files",
            "An engine without root has this user's rights and no others. Asgard asks it to keep your groups, which helps only if you are in them.",
        )
    } else {
        (
            "The device files belong to groups that can be passed on",
            "Containers are given the numbers of these groups, because their names mean other numbers in there, or none.",
        )
    };
    let asked = ask("gpu_groups", "Groups of the GPU", wanted, why);
    if let Some(reason) = beside_the_point(facts) {
        return asked.skip(reason);
    }
    let devices = match &facts.devices {
        Ok(devices) => devices,
        Err(reason) => return asked.skip(reason.clone()),
    };
    let nodes: Vec<&DeviceNode> = devices.kfd.iter().chain(&devices.render).collect();
    if nodes.is_empty() {
        return asked.skip("There are no device files.");
    }
    let mut names: Vec<String> = nodes.iter().filter(|n| n.group != 0).map(|n| group(n)).collect();
    names.sort();
    names.dedup();
    let found = if names.is_empty() { "root".to_owned() } else { list(&names) };
    if nodes.iter().any(|n| n.usable.is_none()) {
        return asked.skip(format!("{found}; whether this user may open them is not in a recording."));
    }
    let closed: Vec<&&DeviceNode> = nodes.iter().filter(|n| n.usable == Some(false)).collect();
    if closed.is_empty() {
        return asked.pass(format!("{found}, open to you"));
    }
    let mut missing: Vec<String> = closed
        .iter()
        .filter(|n| n.group != 0)
        .map(|n| n.group_name.clone().unwrap_or_else(|| n.group.to_string()))
        .collect();
    missing.sort();
    missing.dedup();
    if missing.is_empty() {
        // Nothing hands root's group on.
        let rule = "echo 'SUBSYSTEM==\"kfd\", GROUP=\"render\", MODE=\"0660\"' | sudo tee /etc/udev/rules.d/70-kfd.rules\nsudo udevadm control --reload-rules && sudo udevadm trigger";
        return asked.warn("They belong to root alone", rule);
    }
    let join = format!("sudo usermod -aG {} \"$USER\"\n# Then log out and in again.", missing.join(","));
    match engine {
        // A daemon with root opens them itself, and containers get the numbers.
        Some(_) if !rootless => asked.pass(format!("{found}, passed on by number; you are not a member")),
        Some(_) => asked.fail(format!("You are not in {}", list(&missing)), join),
        None => asked.warn(format!("You are not in {}", list(&missing)), join),
    }
}

fn nvidia(facts: &Facts) -> Check {
    let asked = ask(
        "nvidia_toolkit",
        "NVIDIA Container Toolkit",
        "Installed, and known to the engine",
        "Containers reach an NVIDIA GPU through it alone.",
    );
    if facts.graphics.nvidia_cards == 0 {
        return asked.skip("There is no NVIDIA GPU.");
    }
    match &facts.graphics.nvidia_toolkit {
        None => asked.skip("It was not looked at."),
        Some(Err(reason)) => asked.skip(reason.clone()),
        Some(Ok(true)) => asked.pass("Installed"),
        Some(Ok(false)) => {
            let docker = facts.engine.as_ref().is_ok_and(|e| e.kind == "docker");
            let know = if docker {
                "sudo nvidia-ctk runtime configure --runtime=docker\nsudo systemctl restart docker"
            } else {
                "sudo nvidia-ctk cdi generate --output=/etc/cdi/nvidia.yaml"
            };
            let install = fix::install(facts.distribution, "nvidia-container-toolkit");
            asked.fail("Not found", format!("{install}\n{know}"))
        }
    }
}
