//! The library itself, `libnvidia-ml.so.1`.
//!
//! One for the process: it is opened at the first reading and stays open, because opening it takes far longer than
//! asking. Where it is missing, that is found out once.

use std::collections::BTreeMap;
use std::sync::{LazyLock, Mutex, PoisonError};

use domain::Bytes;
use nvml_wrapper::Device;
use nvml_wrapper::enum_wrappers::device::{Clock, TemperatureSensor};
use nvml_wrapper::enums::device::UsedGpuMemory;
use nvml_wrapper::error::NvmlError;

use super::{Nvml, NvmlDevice, NvmlMemory, NvmlProcess, UNNAMED, by_address};
use crate::cards::{Ask, pci_address};
use crate::meminfo::PLAUSIBLE;

/// `None` where there is no library or no driver.
static LIBRARY: LazyLock<Option<nvml_wrapper::Nvml>> = LazyLock::new(|| nvml_wrapper::Nvml::init().ok());

pub(super) struct Library;

/// What each card said of itself when it last told its memory, by the library's number for it.
static SEEN: Mutex<BTreeMap<u32, NvmlDevice>> = Mutex::new(BTreeMap::new());

impl Library {
    /// Every card's answers to `ask`, by PCI address.
    fn each<T>(ask: impl Fn(u32, Result<Device<'_>, NvmlError>) -> (Option<String>, T)) -> Vec<T> {
        let Some(library) = LIBRARY.as_ref() else { return Vec::new() };
        let count = library.device_count().unwrap_or_default();
        let mut answers: Vec<(Option<String>, T)> =
            (0..count).map(|n| ask(n, library.device_by_index(n))).collect();
        by_address(&mut answers);
        answers.into_iter().map(|(_, answer)| answer).collect()
    }
}

impl Nvml for Library {
    fn devices(&self, ask: Ask) -> Vec<NvmlDevice> {
        let mut seen = SEEN.lock().unwrap_or_else(PoisonError::into_inner);
        let seen = std::cell::RefCell::new(&mut *seen);
        Self::each(|n, device| {
            let silent = |_| NvmlDevice { name: UNNAMED.to_owned(), ..NvmlDevice::default() };
            let answer = device.map_or_else(silent, |device| read(&device, ask));
            let mut seen = seen.borrow_mut();
            let answer = match (answer.memory, seen.get(&n)) {
                (NvmlMemory::Unknown, Some(before)) => silent_as(before),
                (NvmlMemory::Unknown, None) => answer,
                (NvmlMemory::Known { .. } | NvmlMemory::Unsupported, _) => {
                    seen.insert(n, answer.clone());
                    answer
                }
            };
            (answer.pci.clone(), answer)
        })
    }

    fn processes(&self) -> Vec<Option<Vec<NvmlProcess>>> {
        Self::each(|n, device| {
            let address = device.as_ref().ok().and_then(address).or_else(|| {
                let seen = SEEN.lock().unwrap_or_else(PoisonError::into_inner);
                seen.get(&n).and_then(|before| before.pci.clone())
            });
            (address, device.ok().as_ref().and_then(processes))
        })
    }
}

/// What is still true of a card that does not answer.
fn silent_as(before: &NvmlDevice) -> NvmlDevice {
    NvmlDevice {
        busy: None,
        temperature: None,
        power_milliwatts: None,
        clock_mhz: None,
        lost: true,
        ..before.clone()
    }
}

fn address(device: &Device<'_>) -> Option<String> {
    device.pci_info().ok().and_then(|info| pci_address(&info.bus_id))
}

fn read(device: &Device<'_>, ask: Ask) -> NvmlDevice {
    let said = NvmlDevice {
        name: device.name().unwrap_or_else(|_| UNNAMED.to_owned()),
        uuid: device.uuid().ok(),
        pci: address(device),
        memory: memory(device),
        divided: device.mig_mode().is_ok_and(|mode| mode.current != 0),
        ..NvmlDevice::default()
    };
    if ask == Ask::Memory {
        return said;
    }
    NvmlDevice {
        busy: device.utilization_rates().ok().map(|u| u.gpu),
        temperature: device.temperature(TemperatureSensor::Gpu).ok(),
        power_milliwatts: device.power_usage().ok().map(u64::from),
        clock_mhz: device.clock_info(Clock::SM).ok(),
        ..said
    }
}

fn memory(device: &Device<'_>) -> NvmlMemory {
    let plausible = |bytes: u64| Some(Bytes(bytes)).filter(|b| *b <= PLAUSIBLE);
    match device.memory_info() {
        Ok(info) => match (plausible(info.total), plausible(info.free), plausible(info.used)) {
            (Some(total), Some(free), Some(used)) if total > Bytes::ZERO => NvmlMemory::Known {
                total,
                free,
                used,
                reserved: plausible(info.reserved).unwrap_or_default(),
            },
            // Nought in all is how some drivers say that it does not apply.
            (Some(Bytes::ZERO), ..) => NvmlMemory::Unsupported,
            _ => NvmlMemory::Unknown,
        },
        Err(NvmlError::NotSupported) => NvmlMemory::Unsupported,
        Err(_) => NvmlMemory::Unknown,
    }
}

/// Those that compute and those that draw; one that does both is in both lists with the same figure.
fn processes(device: &Device<'_>) -> Option<Vec<NvmlProcess>> {
    let computing = device.running_compute_processes().ok()?;
    let drawing = device.running_graphics_processes().unwrap_or_default();
    let mut by_pid: BTreeMap<u32, Option<Bytes>> = BTreeMap::new();
    for process in computing.into_iter().chain(drawing) {
        let memory = match process.used_gpu_memory {
            UsedGpuMemory::Used(bytes) => Some(Bytes(bytes)).filter(|b| *b <= PLAUSIBLE),
            UsedGpuMemory::Unavailable => None,
        };
        let known = by_pid.entry(process.pid).or_default();
        *known = (*known).max(memory);
    }
    Some(by_pid.into_iter().map(|(pid, memory)| NvmlProcess { pid, memory }).collect())
}
