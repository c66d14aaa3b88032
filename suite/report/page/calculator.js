(() => {
  const { conventions, laws, sizes: asked, needs } = DATA.calculator;
  const grouped = asked.filter((size) => size.groups);
  const at = (id) => document.getElementById(id);
  const body = document.querySelector("#hyperparameters tbody");
  class Wrong extends Error {}
  const NUMBER = /^[+-]?(\d+\.?\d*|\.\d+)(e[+-]?\d+)?$/i;

  const count = (id, label) => {
    const text = at(id).value.trim();
    if (text === "") return null;
    const most = asked.find((size) => size.symbol === id).most;
    if (!/^\d+$/.test(text) || BigInt(text) < 1n || BigInt(text) > BigInt(most)) throw new Wrong(`${label} is ${text}: a whole number from 1 to ${most} is needed`);
    return Exact.make(BigInt(text), 1n);
  };
  const positive = (id, label) => {
    const text = at(id).value.trim();
    if (text === "") return null;
    if (!NUMBER.test(text) || !(Number(text) > 0) || !Number.isFinite(Number(text))) throw new Wrong(`${label} is ${text}: a number above 0 is needed`);
    return text;
  };
  const sizes = () => {
    const found = {};
    for (const { symbol, whole, default: usual } of asked) {
      if (whole) {
        found[symbol] = count(symbol, symbol) ?? (usual === null ? null : Exact.make(BigInt(usual), 1n));
        continue;
      }
      const text = positive(symbol, symbol);
      found[symbol] = text === null ? null : Exact.ofDecimal(text);
    }
    if (found.n === null) throw new Wrong("give n, the samples of a batch");
    for (const { symbol, label } of grouped)
      if (found[symbol].top > found.n.top) throw new Wrong(`${symbol} is ${found[symbol].top} ${label}, more than the ${found.n.top} samples of a batch`);
    if (found.K.top * found.R.top > found.n.top)
      throw new Wrong(`K is ${found.K.top} on each of R = ${found.R.top}, more than the ${found.n.top} samples of a batch: n counts those of one step, on all ranks`);
    return found;
  };
  const lacks = (name, known) => {
    const convention = conventions[name];
    if (convention.tokens && known.m === null) return `${name} counts tokens: give m`;
    for (const need of convention.needs) {
      const { symbol, groups } = asked.find((size) => size.symbol === needs[need]);
      if (known[symbol] === null || (groups && known[symbol].top < 2n)) return `${name} does not apply: give ${symbol}${groups ? " above 1" : ""}`;
    }
    return "";
  };
  const monomial = ({ constant, powers }, known) => {
    let value = Exact.make(BigInt(constant[0]), BigInt(constant[1]));
    for (const [symbol, power] of Object.entries(powers))
      value = Exact.times(value, Exact.power(known[symbol] ?? Exact.make(1n, 1n), power));
    return value;
  };
  const over = (a, b) => Exact.times(a, Exact.power(b, -1));
  const between = (from, to, known) => {
    for (const name of [from, to]) {
      const lack = lacks(name, known);
      if (lack) throw new Wrong(lack);
    }
    const [old, now] = [conventions[from], conventions[to]], n = known.n.top, ranks = known.R.top;
    const split = { R: n % ranks !== 0n, K: n % ranks !== 0n ? known.K.top > 1n : (n / ranks) % known.K.top !== 0n };
    if (grouped.some(({ symbol }) => split[symbol] && old.uneven[symbol] !== now.uneven[symbol]))
      throw new Wrong(`no scale takes ${from} to ${to}: they weigh the samples of this batch differently, which changes the direction; let K × R divide n`);
    const scale = over(monomial(now.unit, known), monomial(old.unit, known));
    return { scale, penalty: over(Exact.times(scale, monomial(old.regulariser, known)), monomial(now.regulariser, known)),
      sized: n > 1n && (now.unit.powers.n ?? 0) !== (old.unit.powers.n ?? 0), assumed: assumed(old, now, known) };
  };
  // What `gradsuite lr` says of lengths and groups, which may be unequal: by the same columns, on unequal ones.
  const assumed = (old, now, known) => {
    const n = known.n.top, K = known.K.top, R = known.R.top, m = known.m?.top ?? null;
    const longest = m === null ? 1n : [m, known.Lmax?.top ?? 2n * m - 1n].reduce((a, b) => a > b ? a : b);
    const kind = n === 1n ? "one" : `${K > 1n ? "K" : ""}${R > 1n ? "R" : ""}`;
    const grouping = K * R > 1n && !(R === 1n && K === n) && !(K === 1n && R === n), lengths = longest > 1n;
    const differ = (what) => old.ragged[kind][what] !== now.ragged[kind][what];
    const byLength = lengths && differ("length"), byGroup = grouping && differ("group");
    if (!byLength && !byGroup && !(lengths && grouping && differ("both"))) return null;
    const direction = (lengths && differ("length direction")) || (grouping && differ("group direction"))
      || (lengths && grouping && differ("both direction"));
    const groups = [K > 1n ? "micro-batches" : "", R > 1n ? "ranks" : ""].filter((one) => one).join(" and ");
    return { direction, assumes: [...(byLength || !byGroup ? [`every sample has ${m} elements`] : []),
      ...(byGroup ? [`all ${groups} have equally many samples`] : [])].join(" and ") };
  };

  const parse = (text, entry) => {
    text = text.trim();
    if (Array.isArray(entry.default)) {
      const parts = text.replace(/^[([]|[)\]]$/g, "").split(",").map((part) => part.trim()).filter((part) => part !== "");
      if (parts.length !== entry.default.length) throw new Wrong(`${entry.name} needs ${entry.default.length} numbers`);
      return parts.map((part, k) => /^none$/i.test(part) && entry.default[k] === null ? null : number(part, entry.name));
    }
    return number(text, entry.name);
  };
  const number = (text, name) => {
    if (!NUMBER.test(text) || !Number.isFinite(Number(text))) throw new Wrong(`${name} is ${text || "empty"}: a number is needed`);
    const value = Number(text);
    if (value === 0 && /[1-9]/.test(text.split(/e/i)[0])) throw new Wrong(`${name} is ${text}: no float is so small`);
    if ((name === "lr" || name === "eps") && value < 0) throw new Wrong(`${name} is ${text}: it must not be negative`);
    if (name === "betas" && !(value >= 0 && value < 1)) throw new Wrong(`${name} is ${text}: each must be at least 0 and less than 1`);
    return value;
  };
  const rescale = (name, value, scale, exponent) => {
    if (Array.isArray(value)) return value.map((one, k) => rescale(name, one, scale, Array.isArray(exponent) ? exponent[k] : exponent));
    if (!exponent || value === null || typeof value === "boolean") return value;
    const found = Exact.toDouble(Exact.times(Exact.ofDouble(value), Exact.power(scale, exponent)));
    if (found === null) throw new Wrong(`${name} = ${value} times s^${exponent} does not fit a float: take a scale nearer to 1`);
    return found;
  };
  const unrectified = (beta) => {
    if (!(beta >= 0 && beta < 1)) throw new Wrong("RAdam: the second of betas must be at least 0 and less than 1");
    const longest = 2 / (1 - beta) - 1;
    if (longest <= 5) return Infinity;
    let step = 1;
    while (longest - 2 * step * beta ** step / (1 - beta ** step) <= 5) step += 1;
    return step - 1;
  };

  const law = () => laws.find((one) => one.name === at("optimizer").value);
  let laid = "";
  const layOut = () => {
    if (laid === at("optimizer").value) return update();
    laid = at("optimizer").value;
    body.replaceChildren(...law().hyperparameters.map((entry) => {
      const row = element("tr");
      row.append(element("th", entry.name, { scope: "row" }));
      const input = element("input", null, { "aria-label": `old ${entry.name}`, "data-name": entry.name });
      if (typeof entry.default === "boolean") {
        input.type = "checkbox";
        input.checked = entry.default;
      } else {
        const shown = Array.isArray(entry.default) ? entry.default.map((one) => one ?? "None").join(", ") : entry.default;
        input.setAttribute("value", shown);
      }
      const cell = element("td");
      cell.append(input);
      row.append(cell, element("td", "", { class: "new" }), element("td"), element("td", entry.why, { class: "why" }));
      return row;
    }));
    update();
  };
  // A number as Python writes it.
  const written = (value) => {
    const [digits, power] = value.toExponential().split("e"), exponent = Number(power);
    if (value === 0 || (exponent >= -4 && exponent < 16)) return String(value);
    return `${digits}e${exponent < 0 ? "-" : "+"}${String(Math.abs(exponent)).padStart(2, "0")}`;
  };
  const literal = (value) => value === null ? "None" : value === true ? "True" : value === false ? "False"
    : Array.isArray(value) ? `(${value.map(literal).join(", ")})` : written(value);
  const factor = (exponent) => Array.isArray(exponent) ? `(${exponent.map(factor).join(", ")})`
    : ({ 0: "1", 1: "s", 2: "s²", "-1": "1/s" })[exponent] ?? `s^${exponent}`;
  // Six digits as Python's %g has them: of two that are as near, the even one.
  const general = (value) => {
    const halfway = /^(\d\.\d{4}[02468])50*e(.*)$/.exec(value.toExponential(60));
    const [digits, power] = halfway ? halfway.slice(1) : value.toExponential(5).split("e"), exponent = Number(power);
    if (exponent >= -4 && exponent < 6) return String(Number(`${digits}e${exponent}`));
    return `${Number(digits)}e${exponent < 0 ? "-" : "+"}${String(Math.abs(exponent)).padStart(2, "0")}`;
  };
  const fraction = ({ top, bottom }) => bottom === 1n ? String(top) : `${top}/${bottom} = ${general(Number(top) / Number(bottom))}`;

  const answer = () => {
    const known = sizes();
    const { scale, penalty, sized, assumed } = between(at("from").value, at("to").value, known);
    const rule = law(), same = scale.top === scale.bottom;
    const old = {};
    for (const entry of rule.hyperparameters) {
      const input = body.querySelector(`[data-name="${entry.name}"]`);
      input.removeAttribute("aria-invalid");
      try {
        old[entry.name] = input.type === "checkbox" ? input.checked : parse(input.value, entry);
      } catch (error) {
        input.setAttribute("aria-invalid", "true");
        throw error;
      }
    }
    const early = rule.early && !same ? unrectified(old.betas[1]) : 0;
    const exponents = Object.fromEntries(rule.hyperparameters.map((entry) => [entry.name,
      early === Infinity ? rule.early[entry.name] : entry.flag && old[entry.flag] ? 0 : entry.exponent]));
    const now = {};
    for (const { name, implied } of rule.hyperparameters) {
      const value = Array.isArray(implied) && !same ? old[name].map((one, k) => one ?? implied[k]) : old[name];
      now[name] = same ? value : rescale(name, value, scale, exponents[name]);
    }
    const text = positive("max_norm", "max_norm");
    const threshold = text === null ? null : same ? Number(text) : rescale("max_norm", Number(text), scale, 1);
    return { scale, penalty, sized, assumed, rule, same, early, exponents, old, now, threshold, given: Number(text) };
  };
  // Why a law is not exact, for powers of two and for other scales, with these values.
  const caveat = (rule, values) => {
    const kind = (value) => value === null ? "none" : value ? "some" : "zero";
    const found = rule.caveats.find(({ name, is }) => name === null || kind([values[name]].flat()[0]) === is);
    return found ? found.says : ["", ""];
  };
  const roundedUp = (bound) => {
    const digits = 10 ** (Math.floor(Math.log10(bound)) - 1);
    return Number((Math.ceil(bound / digits - 1e-6) * digits).toPrecision(2));
  };
  const tell = (found) => {
    const { scale, rule, same, early } = found;
    const notes = [];
    // The sentences are those of `gradsuite lr`, to the word.
    const clipped = found.threshold !== null && !same;
    const obstacles = [];
    if (early && early !== Infinity) obstacles.push(`no constant law: the first ${early} steps follow another one; nearest: the values for all later steps; the schedule, which changes once, is exact`);
    const doubt = same ? "" : caveat(rule, found.old)[Exact.powerOfTwo(scale) ? 0 : 1];
    if (doubt) obstacles.push(doubt);
    if (clipped) {
      const off = Math.abs(1 - 1 / (Number(scale.top) / Number(scale.bottom))) * 1e-6 / found.given;
      obstacles.push("torch's clip_grad_norm_ divides by ‖g‖ + 1e-6, which no threshold can follow: the clipped gradient is off by at most "
        + `${general(roundedUp(off))} of itself; min(1, C/‖g‖) and clip_grad_value_ are exact`);
    }
    const verdict = obstacles.length ? `not exact: ${obstacles.join("; ")}.` : same ? "exact: the gradients are the same."
      : Exact.powerOfTwo(scale) ? "exact, bit for bit: the scale is a power of two."
      : `exact up to rounding${rule.rounding}.`;
    const sentence = (found.assumed ? `only if ${found.assumed.assumes}: ` : "") + verdict;
    notes.push(sentence[0].toUpperCase() + sentence.slice(1));
    if (early && early !== Infinity) notes.push(`In the first ${early} steps lr is ${literal(rescale("lr", found.old.lr, scale, -1))}.`);
    if (found.sized) notes.push("Note: the scale goes with the batch size: a smaller last batch of an epoch has one of its own.");
    if (found.penalty.top !== found.penalty.bottom) notes.push(`Note: if a penalty is a term of the loss, multiply its coefficient by ${fraction(found.penalty)}.`);
    return notes.join(" ");
  };
  const update = () => {
    const rows = [...body.rows];
    for (const row of rows) row.cells[2].textContent = row.cells[3].textContent = "";
    at("python").textContent = at("holds").textContent = "";
    let found;
    try {
      found = answer();
    } catch (error) {
      if (!(error instanceof Wrong)) throw error;
      at("scale").textContent = error.message + ".";
      return;
    }
    found.rule.hyperparameters.forEach(({ name }, k) => {
      rows[k].cells[2].textContent = literal(found.now[name]);
      rows[k].cells[3].textContent = factor(found.exponents[name]);
    });
    const becomes = `he gradient becomes s = ${fraction(found.scale)} times what it was`;
    at("scale").textContent = !found.assumed ? `T${becomes}.` : `If ${found.assumed.assumes}: t${becomes}; `
      + (found.assumed.direction ? "for other sizes the direction differs and no rate exists."
        : "for other sizes each batch has a scale of its own, which no constant follows.");
    const shown = found.rule.hyperparameters.filter(({ name, default: usual }) => name === "lr" || literal(found.now[name]) !== literal(usual));
    const made = found.rule.name.includes(":") ? found.rule.name.split(":").pop() : `torch.optim.${found.rule.name}`;
    const lines = [`${made}(model.parameters(), ${shown.map(({ name }) => `${name}=${literal(found.now[name])}`).join(", ")})`];
    if (found.threshold !== null) lines.push(`torch.nn.utils.clip_grad_norm_(model.parameters(), ${literal(found.threshold)})`);
    at("python").textContent = lines.join("\n");
    at("holds").textContent = tell(found);
  };

  for (const [name, { summary }] of Object.entries(conventions))
    for (const id of ["from", "to"]) at(id).append(element("option", name, { value: name, title: summary }));
  for (const { name } of laws) at("optimizer").append(option(name));
  at("from").value = "sum";
  at("to").value = "mean";
  at("optimizer").value = "Adam";
  // Choosing by keyboard, by mouse, by a script or by going back in the history: each tells in its own way.
  for (const kind of ["input", "change"])
    at("calculator").addEventListener(kind, (event) => event.target === at("optimizer") ? layOut() : update());
  window.addEventListener("pageshow", () => { if (at("optimizer").value !== laid) layOut(); else update(); });
  at("calculator").addEventListener("submit", (event) => event.preventDefault());
  layOut();
})();
