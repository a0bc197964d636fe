// Asking the platform. An error carries its `status`, the platform's own words in `said` and the seconds to `wait`.

async function failure(answer) {
  const body = await answer.json().catch(() => null);
  const said = typeof body?.error === "string" ? body.error : "";
  const wait = Number(answer.headers.get("retry-after")) || 0;
  if (answer.status === 401) dispatchEvent(new Event("headrace:locked"));
  return Object.assign(new Error(said || `the server answered ${answer.status}`), { status: answer.status, said, wait });
}

/** The answer itself, for what is no JSON. */
export async function open(path, options) {
  const answer = await fetch(path, options);
  if (answer.ok) return answer;
  throw await failure(answer);
}

export async function get(path, signal) {
  const answer = await open(path, { headers: { accept: "application/json" }, signal });
  return answer.json();
}

/** POST or DELETE, with JSON or nothing; the JSON that came back, or null. */
export async function send(method, path, body) {
  const headers = { accept: "application/json", ...(body === undefined ? {} : { "content-type": "application/json" }) };
  const answer = await open(path, { method, headers, body: body === undefined ? undefined : JSON.stringify(body) });
  return answer.json().catch(() => null);
}

/** `/api/models/NAME/PART?…` without the entries that are null. */
export function modelPath(name, part, query) {
  const asked = Object.entries(query).filter(([, value]) => value !== null && value !== undefined && value !== "");
  return `/api/models/${encodeURIComponent(name)}${part}?${new URLSearchParams(asked)}`;
}
