// Which drills there are, in the order of the page.

/** Files beside this one. */
export const DRILLS = [
  "d1-kill",
  "d3-resume",
  "d4-order",
  "d5-dead-peer",
  "d6-slow-readers",
  "d9-stop",
  "d10-storm",
  "d14-full-disk",
  "d15-clock",
  "drops",
];

/** Those that `ONLY` names by the beginning of their names, between commas; all of them without it. */
export function chosen() {
  const only = (process.env.ONLY ?? "").split(",").filter(Boolean);
  const names = (file, name) => file === name || file.startsWith(`${name}-`);
  const unknown = only.filter((name) => !DRILLS.some((file) => names(file, name)));
  if (unknown.length > 0) throw new Error(`there is no drill ${unknown.join(", ")}; there are ${DRILLS.join(", ")}`);
  return only.length === 0 ? DRILLS : DRILLS.filter((file) => only.some((name) => names(file, name)));
}
