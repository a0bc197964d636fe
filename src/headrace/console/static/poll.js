// Asking again and again, gently: every two seconds while something runs, else every fifteen, never in a hidden tab.

const BUSY = 2_000;
const IDLE = 15_000;

/** Calls `work()` now and then again, sooner while it answers true. `now()` asks at once, `stop()` ends it. */
export function poll(work) {
  const state = { timer: null, running: false, again: false, stopped: false };
  async function turn() {
    clearTimeout(state.timer);
    if (state.stopped || document.hidden) return;
    if (state.running) { state.again = true; return; }
    state.running = true;
    let busy = false;
    try {
      busy = await work();
    } catch (error) {
      console.error(error); // a fault of one turn does not end the asking
    }
    state.running = false;
    if (state.stopped) return;
    if (state.again) { state.again = false; await turn(); return; }
    state.timer = setTimeout(turn, busy ? BUSY : IDLE);
  }
  const seen = () => { if (!document.hidden) turn(); };
  document.addEventListener("visibilitychange", seen);
  turn();
  return {
    now: turn,
    stop() { state.stopped = true; clearTimeout(state.timer); document.removeEventListener("visibilitychange", seen); },
  };
}
