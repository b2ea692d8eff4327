//! The container engine, and the images that agents run in.

use super::{Check, Engine, Facts, ImageFact, ask, fix, list};

pub(super) fn checks(facts: &Facts) -> Vec<Check> {
    let mut all = vec![socket(facts), engine(facts)];
    all.extend(images(facts));
    all
}

/// The oldest that was tried: Docker's major and minor, Podman's major.
fn too_old(engine: &Engine) -> Option<bool> {
    let version = engine.version.as_deref()?;
    let oldest = if engine.kind == "podman" { [4, 0, 0] } else { [20, 10, 0] };
    super::version_below(version, oldest)
}

fn socket(facts: &Facts) -> Check {
    let asked = ask(
        "engine_socket",
        "The engine's socket",
        "This user may open it",
        "Asgard speaks to the engine through its socket, with your rights.",
    );
    match &facts.engine {
        Err(reason) => asked.skip(reason.clone()),
        Ok(engine) if engine.forbidden => {
            let (message, next) = engine.error.clone().unwrap_or_default();
            asked.fail(message, commands(&next))
        }
        Ok(engine) if engine.error.is_some() => asked.skip("No engine answers."),
        Ok(engine) => asked.pass(format!("{}, open to you", engine.address)),
    }
}

fn engine(facts: &Facts) -> Check {
    let asked = ask(
        "engine",
        "Container engine",
        "Docker 20.10 or Podman 4, or newer",
        "Agents run in containers of it.",
    );
    let engine = match &facts.engine {
        Err(reason) => return asked.skip(reason.clone()),
        Ok(engine) => engine,
    };
    if let Some((message, next)) = &engine.error {
        if facts.rehearsal {
            return asked.skip("None answers, and stand-ins do without.");
        }
        if !engine.needed {
            return asked.skip("None answers, and no agent of the stack runs in a container.");
        }
        return asked.fail(message.clone(), commands(next));
    }
    let name = if engine.kind == "podman" { "Podman" } else { "Docker" };
    let version = engine.version.as_deref().map(|v| format!(" {v}")).unwrap_or_default();
    let mode = if engine.rootless { "without root" } else { "with root" };
    let found = format!("{name}{version}, {mode}");
    if too_old(engine) == Some(true) {
        return asked.warn(found, fix::update(facts.distribution).replace("\nsudo reboot", ""));
    }
    if engine.rootless && name == "Docker" && facts.graphics.amd_cards > 0 {
        return asked
            .because("Docker without root cannot hand your groups on to a container, so the GPU is reachable only where its files are open to everybody. Podman without root can.")
            .warn(found, "systemctl --user enable --now podman.socket\nexport DOCKER_HOST=\"unix://$XDG_RUNTIME_DIR/podman/podman.sock\"");
    }
    asked.pass(found)
}

/// The commands in a sentence ("Run `a`, then `b`."), a line each; the sentence as a remark where it holds none.
fn commands(sentence: &str) -> String {
    let found: Vec<&str> = sentence.split('`').skip(1).step_by(2).filter(|c| !c.is_empty()).collect();
    if found.is_empty() { format!("# {sentence}") } else { found.join("\n") }
}

fn images(facts: &Facts) -> Vec<Check> {
    let general = || {
        ask(
            "images",
            "Images",
            "Here before the first start",
            "An image that is missing is pulled at the first start, which then takes as long as the download.",
        )
    };
    if facts.rehearsal {
        return vec![general().skip("Stand-ins need none.")];
    }
    match &facts.images {
        Err(reason) => vec![general().skip(reason.clone())],
        Ok(images) if images.is_empty() => vec![general().skip("No agent runs in a container.")],
        Ok(images) => images.iter().map(|i| image(facts, i)).collect(),
    }
}

fn image(facts: &Facts, image: &ImageFact) -> Check {
    let users = list(&image.used_by);
    let id = format!("image.{}", image.used_by.first().map_or("none", String::as_str));
    let asked = ask(
        id,
        &format!("Image of {users}"),
        format!("{}, here before the first start", image.reference),
        "An image that is missing is pulled at the first start, which then takes as long as the download.",
    );
    let version = image.version.as_deref();
    match &image.present {
        Err(reason) => asked.skip(reason.clone()),
        Ok(true) => asked.pass(format!(
            "{}, {}",
            image.reference,
            version.unwrap_or("its version is read at the first start")
        )),
        Ok(false) => {
            let tool = match &facts.engine {
                Ok(engine) if engine.kind == "podman" => "podman",
                _ => "docker",
            };
            asked.warn("Not here yet", format!("{tool} pull {}", fix::quoted(&image.reference)))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::commands;

    #[test]
    fn commands_are_taken_out_of_a_sentence() {
        assert_eq!(
            commands("Run `sudo usermod -aG docker $USER`, then log out."),
            "sudo usermod -aG docker $USER"
        );
        assert_eq!(commands("Install Docker (`a`), or: `b`."), "a\nb");
        assert_eq!(commands("Unset it."), "# Unset it.");
    }
}
