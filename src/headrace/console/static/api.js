// Asking the platform. An error carries its `status`, the platform's own words in `said` and the seconds to `wait`.

export async function get(path, signal) {
  const answer = await fetch(path, { headers: { accept: "application/json" }, signal });
  if (answer.ok) return answer.json();
  const body = await answer.json().catch(() => null);
  const said = typeof body?.error === "string" ? body.error : "";
  const wait = Number(answer.headers.get("retry-after")) || 0;
  throw Object.assign(new Error(said || `the server answered ${answer.status}`), { status: answer.status, said, wait });
}

/** `/api/models/NAME/PART?…` without the entries that are null. */
export function modelPath(name, part, query) {
  const asked = Object.entries(query).filter(([, value]) => value !== null && value !== undefined && value !== "");
  return `/api/models/${encodeURIComponent(name)}${part}?${new URLSearchParams(asked)}`;
}
