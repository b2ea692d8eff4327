//! The engine, images, and who holds the ports.

use std::path::Path;

use domain::doctor::{Engine, Free, ImageFact, PortFact, Seen};
use domain::stack::{Agent, Runs, Stack};
use engine::ErrorKind;
use engine::container::images::pinned;
use engine::container::{About, ContainerEngine};

use super::{ENGINE, MORE, Place, RECORDING, look, own_ports, within};

pub(super) struct ContainerFacts {
    pub(super) engine: Seen<Engine>,
    pub(super) images: Seen<Vec<ImageFact>>,
    pub(super) disk: Seen<Free>,
    pub(super) ports: Seen<Vec<PortFact>>,
    pub(super) nvidia_runtime: bool,
}

pub(super) async fn read(place: &Place) -> ContainerFacts {
    if !place.machine.is_this_one() {
        let recorded = || RECORDING.to_owned();
        return ContainerFacts {
            engine: Err(recorded()),
            images: Err(recorded()),
            disk: Err(recorded()),
            ports: Err(recorded()),
            nvidia_runtime: false,
        };
    }
    let silent = || "The container engine did not answer in time.".to_owned();
    let Some(containers) = &place.containers else {
        let error = Some((silent(), "Look whether it hangs: `docker info` or `podman info`.".to_owned()));
        return ContainerFacts {
            engine: Ok(Engine { error, ..Engine::default() }),
            images: Err(silent()),
            disk: Err(silent()),
            ports: ports(place, Vec::new()).await,
            nvidia_runtime: false,
        };
    };
    let about = within(ENGINE, "The container engine", containers.about()).await;
    let (engine, about) = match about {
        Ok(Ok(about)) => (described(&about), Some(about)),
        Ok(Err(error)) => {
            let forbidden = error.kind == ErrorKind::Forbidden;
            (Engine { error: Some((error.message, error.next)), forbidden, ..Engine::default() }, None)
        }
        Err(reason) => {
            let next = "Look whether it hangs: `docker info` or `podman info`.".to_owned();
            (Engine { error: Some((reason, next)), ..Engine::default() }, None)
        }
    };
    let Some(about) = about else {
        let reason = "No container engine answers.".to_owned();
        return ContainerFacts {
            engine: Ok(engine),
            images: Err(reason.clone()),
            disk: Err(reason),
            ports: ports(place, Vec::new()).await,
            nvidia_runtime: false,
        };
    };
    let (images, disk, own) =
        tokio::join!(images(place, containers), disk(containers, &about), own_ports(containers.as_ref()));
    ContainerFacts {
        engine: Ok(engine),
        images,
        disk,
        ports: ports(place, own).await,
        nvidia_runtime: about.runtimes.iter().any(|r| r.contains("nvidia")),
    }
}

fn described(about: &About) -> Engine {
    Engine {
        kind: about.kind.to_owned(),
        version: about.version.clone(),
        rootless: about.rootless,
        address: about.address.clone(),
        needed: false,
        error: None,
        forbidden: false,
    }
}

async fn disk(containers: &ContainerEngine, about: &About) -> Seen<Free> {
    let free = within(MORE, "The engine's folder", containers.free_disk()).await?;
    match free {
        Ok(Some(bytes)) => Ok(Free { path: about.folder.clone().unwrap_or_default(), bytes }),
        Ok(None) => Err("The engine does not keep its images on this machine.".to_owned()),
        Err(error) => Err(error.message),
    }
}

fn image_of(agent: &Agent) -> Option<&str> {
    match &agent.runs {
        Runs::Container { image, .. } if agent.served_by.is_none() => Some(image),
        _ => None,
    }
}

async fn images(place: &Place, containers: &ContainerEngine) -> Seen<Vec<ImageFact>> {
    let stack = place.stack.as_ref().map_err(|_| "The stack file does not hold.".to_owned())?;
    let mut found: Vec<ImageFact> = Vec::new();
    for agent in &stack.agents {
        let Some(reference) = image_of(agent) else { continue };
        match found.iter_mut().find(|i| i.reference == reference) {
            Some(known) => known.used_by.push(agent.name.proper()),
            None => found.push(ImageFact {
                reference: reference.to_owned(),
                used_by: vec![agent.name.proper()],
                present: Ok(false),
                version: None,
            }),
        }
    }
    if place.rehearsal {
        return Ok(found);
    }
    let asked = async {
        for image in &mut found {
            let known = place.images.iter().find(|r| r.reference == image.reference);
            let digest = known.and_then(|r| r.digest.clone());
            let reference =
                digest.as_ref().map_or_else(|| image.reference.clone(), |d| pinned(&image.reference, d));
            image.present = containers.image_exists(&reference).await.map_err(|e| e.message);
            let digest = match digest {
                Some(digest) => Some(digest),
                None => containers.digest(&image.reference).await.ok().flatten(),
            };
            let version =
                |d: &String| place.versions.iter().find(|v| &v.digest == d).map(|v| v.version.clone());
            image.version = digest.as_ref().and_then(version);
        }
    };
    within(MORE, "The engine", asked).await?;
    Ok(found)
}

/// Ports of agents that are started here, and the gateway's.
async fn ports(place: &Place, in_containers: Vec<u16>) -> Seen<Vec<PortFact>> {
    let mut own = in_containers;
    if let Some(processes) = &place.processes {
        own.extend(own_ports(processes.as_ref()).await);
    }
    if place.gateway_open {
        own.push(place.listen.port());
    }
    let mut wanted: Vec<PortFact> = place.stack.iter().flat_map(of_stack).collect();
    wanted.push(PortFact {
        port: place.listen.port(),
        owner: "the gateway".to_owned(),
        agent: None,
        taken_by: None,
    });
    look("The list of ports", move || {
        for fact in wanted.iter_mut().filter(|f| !own.contains(&f.port)) {
            let holder = engine::port_holder(Path::new("/proc"), fact.port);
            // A controller of this user that runs meanwhile.
            let ours = |who: &String| fact.agent.is_none() && who.starts_with("asgard");
            fact.taken_by = holder.filter(|who| !ours(who));
        }
        wanted
    })
    .await
}

fn of_stack(stack: &Stack) -> Vec<PortFact> {
    let started =
        |a: &&Agent| a.served_by.is_none() && matches!(a.runs, Runs::Container { .. } | Runs::Process { .. });
    let port = |a: &Agent| PortFact {
        port: a.port,
        owner: a.name.proper(),
        agent: Some(a.name.to_string()),
        taken_by: None,
    };
    stack.agents.iter().filter(started).map(port).collect()
}
