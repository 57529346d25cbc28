// What two snapshots tell that one does not: rates, and latencies of a while.
"use strict";

/** Snapshots kept: five minutes. */
export const KEPT = 300;

export class History {
  #snapshots = [];

  /** The newest. */
  get now() {
    return this.#snapshots.at(-1);
  }

  get all() {
    return this.#snapshots;
  }

  push(snapshot) {
    const before = this.now;
    // Another process, or the same one started anew: what was counted before does not go on.
    if (before && (before.started_ms !== snapshot.started_ms || before.time_ms > snapshot.time_ms)) this.#snapshots = [];
    this.#snapshots.push(snapshot);
    if (this.#snapshots.length > KEPT) this.#snapshots.shift();
  }

  /** The newest snapshot that is at least so many seconds old; the oldest, if none is. */
  before(seconds) {
    const time = this.now.time_ms - seconds * 1000;
    return this.#snapshots.findLast((snapshot) => snapshot.time_ms <= time) ?? this.#snapshots[0];
  }

  /** Change a second of what `count` finds in a snapshot, over the last `seconds`; undefined if it is in none. */
  rate(count, seconds = 5) {
    return rateBetween(this.before(seconds), this.now, count);
  }

  /** By how much what `count` finds has grown in the last `seconds`. */
  gain(count, seconds) {
    return Math.max(0, (count(this.now) ?? 0) - (count(this.before(seconds)) ?? 0));
  }

  /** The quantile of a hop's times over the last `seconds`, in seconds; undefined if nothing took its way. */
  quantile(hop, share, seconds = 60) {
    const of = (snapshot) => snapshot.latencies.find((latency) => latency.hop === hop);
    const [before, now] = [this.before(seconds), this.now];
    return quantileBetween(before === now ? undefined : of(before), of(now), share);
  }
}

export function rateBetween(before, now, count) {
  const [from, to] = [count(before), count(now)];
  const time = (now.time_ms - before.time_ms) / 1000;
  if (to === undefined || time <= 0) return undefined;
  return Math.max(0, to - (from ?? 0)) / time;
}

function quantileBetween(before, now, share) {
  if (!now) return undefined;
  const past = new Map(before?.buckets ?? []);
  const count = now.count - (before?.count ?? 0);
  if (count <= 0) return undefined;
  const rank = share * count;
  let [lower, below] = [0, 0];
  for (const [bound, all] of now.buckets) {
    const within = all - (past.get(bound) ?? 0);
    if (within >= rank) {
      // As Prometheus does it: even within a bucket.
      return within === below ? bound : lower + ((bound - lower) * (rank - below)) / (within - below);
    }
    [lower, below] = [bound, within];
  }
  return lower;
}
