// Time for countdowns and for "idle for 4 min". It ticks only while something on the screen reads it.

import { createSubscriber } from "svelte/reactivity";

class Clock {
  readonly #subscribe: () => void;

  constructor(every: number) {
    this.#subscribe = createSubscriber((update) => {
      const timer = setInterval(update, every);
      return () => {
        clearInterval(timer);
      };
    });
  }

  get now(): number {
    this.#subscribe();
    return Date.now();
  }
}

export const seconds = new Clock(1_000);
export const minutes = new Clock(20_000);

/** Seconds since a time, or until it (less than zero once it is past). */
export function secondsSince(time: string, now: number): number {
  return (now - new Date(time).getTime()) / 1000;
}
