//! What is known of this machine when a stack is read: its GPU, and the models that lie in its cache.

use std::path::{Path, PathBuf};

use domain::estimate::ModelFacts;
use domain::stack::Gpu;
use store::stack_file::Surroundings;

use crate::start::Options;
use crate::world::World;

#[derive(Debug, Clone)]
pub(crate) struct Here {
    gpu: Option<Gpu>,
    hub: PathBuf,
}

impl Here {
    pub(crate) fn of(options: &Options) -> Self {
        Self { gpu: options.machine().gpu(), hub: options.paths.hub.clone() }
    }

    pub(crate) fn in_world(world: &World, gpu: Option<Gpu>) -> Self {
        Self { gpu, hub: world.paths.hub.clone() }
    }
}

impl Here {
    pub(crate) fn hub(&self) -> &Path {
        &self.hub
    }
}

impl Surroundings for Here {
    fn gpu(&self) -> Option<Gpu> {
        self.gpu
    }

    fn model(&self, model: &str, revision: Option<&str>) -> Option<ModelFacts> {
        models::facts_of(&self.hub, model, revision)
    }
}
