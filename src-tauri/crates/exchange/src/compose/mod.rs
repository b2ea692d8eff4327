//! Compose files, merged as compose merges them, and their services as agents.

mod merge;
mod ollama;
mod order;
mod refuse;
mod service;
mod values;

use std::cell::{Cell, RefCell};
use std::collections::BTreeSet;
use std::rc::Rc;

use crate::dotenv::{self, Variable};
use crate::env::Vars;
use crate::finish::{Household, finish};
use crate::interpolate::interpolate;
use crate::known;
use crate::report::{MOST_BYTES, Place, Report, quoted};
use crate::yaml::{self, Node, Value};
use crate::{Facts, Import, ImportError, SourceFile};

const UNNAMED: &str = "imported";
/// All texts together once their variables are put in.
const MOST_TEXT: usize = 8 * MOST_BYTES;

/// A stack out of compose files, the later ones over the earlier, and the `.env` that sets their variables.
///
/// # Errors
/// A file cannot be read, asks for what is never given, or no agent can be made.
pub fn import_compose(
    files: &[SourceFile],
    env: Option<&SourceFile>,
    facts: &Facts,
) -> Result<Import, ImportError> {
    let mut report = Report::default();
    let variables = env.map(dotenv::read).transpose()?.unwrap_or_default();
    let env_name = env.map(|e| e.name.clone()).unwrap_or_default();
    let mut vars = Vars::new(&env_name, &variables);
    vars.secrets(&mut report);
    let reading = Reading { variables: &variables, used: RefCell::new(BTreeSet::new()), spent: Cell::new(0) };
    let house = read(files, &reading, &mut vars, &mut report).map_err(|e| report.error(e))?;
    vars.used.extend(reading.used.take());
    vars.rest(&mut report);
    finish(house, facts, report)
}

fn read(
    files: &[SourceFile],
    reading: &Reading<'_>,
    vars: &mut Vars<'_>,
    report: &mut Report,
) -> Result<Household, ImportError> {
    let first = files.first().ok_or_else(|| ImportError {
        message: "No compose file was given.".to_owned(),
        next: "Name at least one.".to_owned(),
    })?;
    let mut merged: Option<Vec<merge::Service>> = None;
    let mut house = Household { name: UNNAMED.to_owned(), file: first.name.clone(), ..Household::default() };
    for file in files {
        let read = yaml::read(&file.name, &file.text)?;
        for line in &read.tags {
            let place = Place::at(&file.name, *line);
            report.not_understood(
                &place,
                None,
                "tag",
                "A YAML tag stands here; only what is behind it was read.",
            );
        }
        refuse::elsewhere(&file.name, &read.root)?;
        let root = reading.put_in(&file.name, &read.root)?;
        top(&file.name, &root, &mut house, report)?;
        let services = merge::services(&file.name, &root)?;
        merged = Some(match merged {
            None => services,
            Some(earlier) => merge::over(earlier, services),
        });
    }
    let services = merged.unwrap_or_default();
    for service in &services {
        refuse::service(service)?;
    }
    order::check(&services, report)?;
    let root = vars.root();
    for service in &services {
        service::read(service, root.as_deref(), &mut house, vars, report);
    }
    // Only now: an agent of another file may be what a variable of the scheduler is about.
    let gateway = crate::env::gateway(vars, &mut house.agents, report);
    house.gateway = house.gateway.or(gateway);
    let strix = house.agents.iter().any(|a| known::agent_named(&a.name).is_some());
    if house.name == UNNAMED && strix {
        "strix-opencode".clone_into(&mut house.name);
    }
    crate::env::places(vars, report);
    Ok(house)
}

/// What stands beside the services.
fn top(file: &str, root: &Node, house: &mut Household, report: &mut Report) -> Result<(), ImportError> {
    let Some(map) = root.map() else {
        return Err(ImportError {
            message: format!("{} is no compose file: it is not a table.", quoted(file)),
            next: "Give a file with services.".to_owned(),
        });
    };
    for (key, node) in map {
        let place = Place::at(file, node.line);
        match key.as_str() {
            "services" => {}
            "version" => report.understood(&place, None, key, "The file's own version; nothing hangs on it."),
            "name" => {
                if let Some(name) = node.text().filter(|n| !crate::interpolate::has_unset(n)) {
                    name.clone_into(&mut house.name);
                    report.understood(&place, None, key, "The stack's name.");
                }
            }
            "x-asgard" => {
                ours(node, house);
                report.understood(&place, None, key, "What Asgard wrote down when it exported this stack.");
            }
            "volumes" | "networks" => {
                report.understood(&place, None, key, "Not needed: Asgard mounts and publishes by itself.");
            }
            key if key.starts_with("x-") => {
                report.understood(
                    &place,
                    None,
                    key,
                    "An extension: what refers to it was read where it is used.",
                );
            }
            _ => report.not_understood(&place, None, key, "This key is not known here; it was left out."),
        }
    }
    Ok(())
}

/// Our own block of an exported file.
fn ours(node: &Node, house: &mut Household) {
    let text = |key: &str| node.get(key).and_then(|n| n.text()).map(str::to_owned);
    if let Some(name) = text("name") {
        house.name = name;
    }
    house.base = text("base");
    house.explicit = true;
    let texts = |node: &Node| -> Vec<String> {
        node.list().unwrap_or_default().iter().filter_map(|n| n.text()).map(str::to_owned).collect()
    };
    house.profiles = node.get("profiles").map(|n| texts(n)).unwrap_or_default();
    house.conflicts =
        node.get("conflicts").and_then(|n| n.list()).unwrap_or_default().iter().map(|n| texts(n)).collect();
}

struct Reading<'a> {
    variables: &'a [Variable],
    /// The variables that were asked for.
    used: RefCell<BTreeSet<String>>,
    spent: Cell<usize>,
}

impl Reading<'_> {
    /// The tree with its variables put in.
    fn put_in(&self, file: &str, node: &Rc<Node>) -> Result<Rc<Node>, ImportError> {
        let value = match &node.value {
            Value::Null => return Ok(Rc::clone(node)),
            Value::Text(text) => {
                let lookup = |name: &str| {
                    self.used.borrow_mut().insert(name.to_owned());
                    self.variables.iter().find(|v| v.name == name).map(|v| v.value.as_str())
                };
                let fail = |what: &str, next: &str| ImportError {
                    message: format!("{}, line {}: {what}.", quoted(file), node.line),
                    next: next.to_owned(),
                };
                let text = interpolate(text, &lookup)
                    .map_err(|wrong| fail(&wrong, "Set it in the .env, or write $$ for a dollar sign."))?;
                self.spent.set(self.spent.get().saturating_add(text.len()));
                if self.spent.get() > MOST_TEXT {
                    return Err(fail(
                        "with its variables put in the file is too large",
                        "Use shorter values.",
                    ));
                }
                Value::Text(text)
            }
            Value::List(list) => {
                Value::List(list.iter().map(|n| self.put_in(file, n)).collect::<Result<_, _>>()?)
            }
            Value::Map(map) => Value::Map(
                map.iter()
                    // Extensions are read where they are merged in.
                    .filter(|(key, _)| !key.starts_with("x-") || key == "x-asgard")
                    .map(|(key, n)| Ok((key.clone(), self.put_in(file, n)?)))
                    .collect::<Result<_, ImportError>>()?,
            ),
        };
        Ok(Node::of(node.line, value))
    }
}
