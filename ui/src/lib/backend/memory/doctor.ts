// Readiness, played: one thing to fix, two advised, the rest in order.

import type { Doctor, DoctorCheck } from "../types";

const passed = (id: string, title: string, found: string): DoctorCheck => ({
  id,
  title,
  status: "pass",
  found,
  wanted: "As it is",
  why: "So that agents run.",
  fix: null,
});

const SWAP: DoctorCheck = {
  id: "swap",
  title: "Swap",
  status: "warn",
  found: "None",
  wanted: "At least 8.0\u00a0GB",
  why: "Without room to swap, a short peak ends the largest program. It helps the desktop's idle memory only: what the GPU has mapped is never swapped.",
  fix: "sudo dd if=/dev/zero of=/swapfile-asgard bs=1M count=8192 status=progress\nsudo chmod 600 /swapfile-asgard && sudo mkswap /swapfile-asgard\nsudo swapon /swapfile-asgard\necho '/swapfile-asgard none swap sw 0 0' | sudo tee -a /etc/fstab",
};

export class PlayedDoctor {
  #asked = 0;

  /** The owner mends the swap between two looks. */
  check(): Doctor {
    this.#asked += 1;
    return {
      checks: [
        passed("carve_out", "GPU carve-out", "512.0\u00a0MB"),
        {
          id: "gtt_cap",
          title: "GPU-addressable memory",
          status: "fail",
          found: "62.5\u00a0GiB, ttm.pages_limit=16384000, half of the memory, 24.8\u00a0GB short",
          wanted: "At least 87.3\u00a0GB, for odin",
          why: "The GPU may map this much of the memory; the kernel's default is half of it. Agents on the GPU cannot hold more together, however much is free.",
          fix: "sudo grubby --update-kernel=ALL --remove-args=amdgpu.gttsize --args=ttm.pages_limit=32505856\nsudo reboot",
        },
        this.#asked > 1 ? { ...SWAP, status: "pass", found: "8.0\u00a0GB", fix: null } : SWAP,
        {
          id: "early_oom",
          title: "earlyoom",
          status: "warn",
          found: "Not running",
          wanted: "earlyoom or systemd-oomd running",
          why: "It ends one program early, before the desktop freezes; the kernel by itself acts late.",
          fix: "sudo dnf install earlyoom\nsudo systemctl enable --now earlyoom",
        },
        passed("gpu_groups", "Groups of the GPU", "render (992) and video (39), passed on by number; you are not a member"),
        passed("engine", "Container engine", "Docker 27.3.1, with root"),
        passed("image.Thor", "Image of Thor, Valkyrie and Odin", "docker.io/kyuz0/vllm-therock-gfx1151:latest, vLLM 0.26.1"),
        passed("disk_models", "Free disk for models", "1.6\u00a0TB at /home/you/.cache/huggingface/hub"),
        { ...passed("nvidia_toolkit", "NVIDIA Container Toolkit", "There is no NVIDIA GPU."), status: "skip" },
      ],
    };
  }
}
