//! Who waits for whom: only that it ends, for Asgard starts one agent after the other anyway.

use std::collections::BTreeMap;

use super::merge::Service;
use super::values::names;
use crate::ImportError;
use crate::report::{Place, Report, quoted};

pub(super) fn check(services: &[Service], report: &mut Report) -> Result<(), ImportError> {
    let mut waits: BTreeMap<&str, Vec<String>> = BTreeMap::new();
    for service in services {
        let Some(node) = service.node.get("depends_on") else { continue };
        let on = names(node);
        for name in &on {
            if !services.iter().any(|s| &s.name == name) {
                report.not_understood(
                    &Place::at(&service.file, node.line),
                    None,
                    &format!("services.{}.depends_on", service.name),
                    format!("There is no service {}.", quoted(name)),
                );
            }
        }
        waits.insert(&service.name, on);
    }
    // Whoever waits for nobody that is left can start; who stays over waits in a circle.
    let mut left: Vec<&Service> = services.iter().collect();
    loop {
        let before = left.len();
        let names: Vec<&str> = left.iter().map(|s| s.name.as_str()).collect();
        left.retain(|s| {
            waits.get(s.name.as_str()).is_some_and(|on| on.iter().any(|n| names.contains(&n.as_str())))
        });
        if left.is_empty() {
            return Ok(());
        }
        if left.len() == before {
            break;
        }
    }
    let circle: Vec<String> = left.iter().take(4).map(|s| quoted(&s.name)).collect();
    let (file, line) = left.first().map(|s| (s.file.as_str(), s.node.line)).unwrap_or_default();
    Err(ImportError {
        message: format!(
            "{}, line {line}: {} wait for each other in a circle.",
            quoted(file),
            circle.join(", ")
        ),
        next: "Take one of them out of depends_on.".to_owned(),
    })
}
