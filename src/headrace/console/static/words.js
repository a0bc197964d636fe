// Numbers, times and states in plain words.

export const HOUR = 3_600_000;
export const DAY = 24 * HOUR;

const formats = new Map();
function format(zone, options) {
  const name = zone + JSON.stringify(options);
  if (!formats.has(name)) {
    try {
      formats.set(name, new Intl.DateTimeFormat("en-GB", { ...options, timeZone: zone, hourCycle: "h23" }));
    } catch {
      formats.set(name, new Intl.DateTimeFormat("en-GB", { ...options, timeZone: "UTC", hourCycle: "h23" }));
    }
  }
  return formats.get(name);
}

const offsets = new Map();
/** How far local time in `zone` is ahead of UTC at `ms`. */
export function offset(ms, zone) {
  const quarter = Math.floor(ms / 900_000);
  const name = `${zone} ${quarter}`;
  if (!offsets.has(name)) {
    if (offsets.size > 20_000) offsets.clear();
    const parts = { year: "numeric", month: "numeric", day: "numeric", hour: "numeric", minute: "numeric" };
    const found = {};
    for (const { type, value } of format(zone, parts).formatToParts(quarter * 900_000)) found[type] = Number(value);
    const local = Date.UTC(found.year, found.month - 1, found.day, found.hour, found.minute);
    offsets.set(name, local - quarter * 900_000);
  }
  return offsets.get(name);
}

/** Local hour of the day, 0 to 23. */
export const hourOf = (ms, zone) => Math.floor((((ms + offset(ms, zone)) % DAY) + DAY) % DAY / HOUR);

/** The local midnights (plus `part` of a day) from `from` to `to`. */
export function midnights(from, to, zone, part = 0) {
  const found = [];
  for (let day = Math.floor((from + offset(from, zone)) / DAY); ; day += 1) {
    const local = day * DAY + part;
    const ms = local - offset(local - offset(local, zone), zone);
    if (ms > to) return found;
    if (ms >= from) found.push(ms);
  }
}

export const dayName = (ms, zone) => format(zone, { weekday: "short", day: "numeric", month: "short" }).format(ms).replace(",", "");
export const shortDay = (ms, zone) => format(zone, { day: "numeric", month: "short" }).format(ms);
export const clock = (ms, zone) => format(zone, { hour: "2-digit", minute: "2-digit" }).format(ms);
export const date = (ms, zone) => format(zone, { day: "numeric", month: "short", year: "numeric" }).format(ms);
export const moment = (ms, zone) => `${dayName(ms, zone)} ${clock(ms, zone)}`;
export const fullMoment = (ms, zone) => `${date(ms, zone)}, ${format(zone, { hour: "2-digit", minute: "2-digit", second: "2-digit" }).format(ms)}`;

/** "UTC−8" for Etc/GMT+8, whose sign misleads; the name is added when it says more. */
export function zoneName(zone, ms) {
  const minutes = Math.round(offset(ms, zone) / 60_000);
  const size = Math.abs(minutes);
  const shift = size % 60 ? `${Math.floor(size / 60)}:${String(size % 60).padStart(2, "0")}` : size / 60;
  const utc = minutes === 0 ? "UTC" : `UTC${minutes < 0 ? "−" : "+"}${shift}`;
  return zone.startsWith("Etc/") || zone === "UTC" ? utc : `${zone}, ${utc}`;
}

export const localZone = () => new Intl.DateTimeFormat().resolvedOptions().timeZone || "UTC";

export const count = (value) => Math.round(value).toLocaleString("en-GB");
export const many = (value, word, plural = `${word}s`) => `${count(value)} ${value === 1 ? word : plural}`;

/** Three significant digits or so, a true minus sign, never an exponent for everyday numbers. */
export function number(value, digits = 3) {
  if (value === null || value === undefined || !Number.isFinite(value)) return "–";
  const size = Math.abs(value);
  if (size !== 0 && (size < 1e-4 || size >= 1e9)) return value.toExponential(2).replace(/\.?0*e\+?/, "e").replaceAll("-", "−");
  const places = size === 0 ? 0 : Math.min(6, Math.max(0, digits - 1 - Math.floor(Math.log10(size))));
  return value.toLocaleString("en-GB", { maximumFractionDigits: places }).replace("-", "−");
}

/** With a fixed number of decimals. */
export const fixed = (value, places) =>
  value === null || value === undefined || !Number.isFinite(value)
    ? "–"
    : Math.abs(value) >= 1e15 ? number(value)
    : (Number(value.toFixed(places)) || 0).toLocaleString("en-GB", { minimumFractionDigits: places, maximumFractionDigits: places }).replace("-", "−");

/** +0.21; the sign is always said. */
export const signed = (value) =>
  value === null || value === undefined || !Number.isFinite(value) ? "–" : (value > 0.004 ? "+" : "") + fixed(Math.abs(value) < 0.005 ? 0 : value, 2);

/** Three digits or so, and the sign always said. */
export const signedNumber = (value) => (value > 0 ? "+" : "") + number(value);

/** Decimals with which values up to `largest` show three digits. */
export const placesFor = (largest) => (largest > 0 ? Math.min(6, Math.max(0, 2 - Math.floor(Math.log10(largest)))) : 0);

/** The sign always said, with so many decimals; "0" has none. */
export const signedFixed = (value, places) => (Number(value.toFixed(places)) > 0 ? "+" : "") + fixed(Number(value.toFixed(places)) || 0, places);

/** 0.00001 as 10⁻⁵, 0.00000029 as 2.9 × 10⁻⁷: for tolerances. */
export function tiny(value) {
  if (!Number.isFinite(value) || value === 0 || Math.abs(value) >= 1e-3) return number(value);
  const [digits, power] = value.toExponential(1).split("e-");
  const raised = [...power].map((digit) => "⁰¹²³⁴⁵⁶⁷⁸⁹"[digit]).join("");
  return digits === "1.0" ? `10⁻${raised}` : `${digits}\u00a0×\u00a010⁻${raised}`;
}

export function rate(value) {
  if (value >= 100) return count(value);
  return number(value, 2);
}

/** How to write a whole series of this unit: W above 2,000 becomes kW, and so on. */
export function scaleOf(unit, largest) {
  const prefixed = ["W", "Wh", "VA", "var", "V", "A", "Pa"].includes(unit);
  if (prefixed && largest >= 2e6) return { factor: 1e-6, unit: `M${unit}` };
  if (prefixed && largest >= 2e3) return { factor: 1e-3, unit: `k${unit}` };
  return { factor: 1, unit: unit || "" };
}

export function span(ms) {
  const size = Math.abs(ms);
  if (size < 90_000) return many(Math.max(1, Math.round(size / 1000)), "second");
  if (size < 90 * 60_000) return many(Math.round(size / 60_000), "minute");
  if (size < 36 * HOUR) return many(Math.round(size / HOUR), "hour");
  if (size < 60 * DAY) return many(Math.round(size / DAY), "day");
  if (size < 700 * DAY) return many(Math.round(size / (30.44 * DAY)), "month");
  return many(Math.round(size / (365.25 * DAY)), "year");
}

/** A length of time in its two largest units: "2 h 10 min". */
export function lasting(ms) {
  const sizes = [[DAY, "d"], [HOUR, "h"], [60_000, "min"], [1000, "s"]];
  const first = sizes.findIndex(([size]) => ms >= size);
  if (first < 0) return `${number(ms)} ms`;
  const [[size, unit], next] = [sizes[first], sizes[first + 1]];
  const whole = Math.floor(ms / size);
  const rest = next ? Math.floor((ms - whole * size) / next[0]) : 0;
  return `${whole} ${unit}${rest ? ` ${rest} ${next[1]}` : ""}`;
}

/** In the units of the command line: 38,046 bytes are 37.2 KiB. */
export function bytes(value) {
  const units = ["bytes", "KiB", "MiB", "GiB", "TiB"];
  const step = Math.min(units.length - 1, value >= 1 ? Math.floor(Math.log2(value) / 10) : 0);
  return `${(value / 1024 ** step).toLocaleString("en-GB", { maximumFractionDigits: 1 })} ${units[step]}`;
}

/** "sha256:ab12cd34…" is enough to recognise; the whole digest is in the title. */
export const brief = (digest) => (digest && digest.length > 19 ? `${digest.slice(0, 15)}…` : digest || "");
/** "pv-rls · trio"; a model over everything has no key. */
export const titled = (name, key) => (key ? `${name} · ${key}` : name);
export const sentence = (text) => (text ? text[0].toUpperCase() + text.slice(1) : "");
export const clip = (text, size) => (text.length > size ? `${text.slice(0, size - 1)}…` : text);

export const STATES = {
  waiting: "Waiting for readings",
  collecting: "Collecting readings",
  live: "Learning",
  failed: "Stopped by an error",
  restarting: "Restarting",
  busy: "Computing",
};

export const CONTENDERS = {
  live: "Live model",
  champion: "Published model",
  persistence: "Same hour yesterday",
  "hour-mean": "Mean of that hour",
};
/** The names engineers use for the yardsticks. */
export const TERMS = { live: "live", champion: "champion", persistence: "persistence", "hour-mean": "hour-mean" };
