// The connection: snapshots as they come, and how the connection is doing.
"use strict";

/** Milliseconds without a snapshot after which a person should know. Streams end each minute and come back in one second. */
const QUIET = 4000;
/** Milliseconds until the next attempt, where the browser does not make one by itself. */
const AGAIN = 3000;

/**
 * Calls `onSnapshot(snapshot)` for each, and `onState(state, text)` with state `live`, `waiting` or `lost`.
 * A hidden page is not connected: it would take the place of one that somebody looks at.
 */
export function connect(onSnapshot, onState) {
  let source = null;
  let again = 0;
  let last = -Infinity;

  const open = () => {
    clearTimeout(again);
    if (document.hidden) return;
    source = new EventSource("/events");
    source.onmessage = (event) => {
      last = performance.now();
      onState("live", "Live");
      onSnapshot(JSON.parse(event.data));
    };
    source.onerror = () => {
      // Closed for good: an answer that is no stream. The browser tries again by itself in all other cases.
      if (source.readyState !== EventSource.CLOSED) return;
      explain(onState);
      again = setTimeout(open, AGAIN);
    };
  };

  document.addEventListener("visibilitychange", () => {
    clearTimeout(again);
    source?.close();
    if (document.hidden) onState("waiting", "Paused");
    else open();
  });
  setInterval(() => {
    if (!document.hidden && source?.readyState !== EventSource.CLOSED && performance.now() - last > QUIET) {
      onState("lost", last < 0 ? "No figures yet, trying again" : "No figures, trying again");
    }
  }, 1000);
  open();
}

/** Why there is no stream, as the server says it. */
async function explain(onState) {
  try {
    const answer = await fetch("/events", { headers: { accept: "text/plain" } });
    if (answer.ok) {
      await answer.body?.cancel();
      return;
    }
    const text = (await answer.text()).trim();
    onState("lost", text.startsWith("{") ? JSON.parse(text).error : text);
  } catch {
    onState("lost", "Weir does not answer, trying again");
  }
}
