(() => {
  const PAGE = 200;
  const COLUMNS = ["case", "batch size", "batch", "convention", "against", "scale", "relative", "direction", "verdict", "engine", "reason"];
  const NUMBERS = new Set([1, 5, 6, 7]);
  const VERDICTS = ["identical", "rounding", "scale", "direction"];
  const { texts, rows } = DATA.measurements;
  const at = (id) => document.getElementById(id);
  const head = document.querySelector("#rows thead tr"), body = document.querySelector("#rows tbody");
  const value = (row, column) => NUMBERS.has(column) ? row[column] : texts[row[column]];
  const slug = (text) => String(text).toLowerCase().replace(/[^\p{L}\p{N}]+/gu, "-").replace(/^-+|-+$/g, "") || "x";
  const link = (row) => "m-" + [0, 1, 2, 3, 4].map((column) => slug(value(row, column))).join("-");
  const lower = texts.map((text) => text.toLowerCase());
  let found = rows, shown = 0, sorted = { column: -1, up: true };

  const digits = (number) => number === null ? "–" : number === 0 ? "0" : String(Number(number.toPrecision(4)));
  const line = (row) => {
    const tr = element("tr", null, { id: link(row), tabindex: "-1" });
    const first = element("th", null, { scope: "row", class: "name" });
    first.append(element("a", value(row, 0), { href: "#" + tr.id }));
    tr.append(first);
    for (let column = 1; column < COLUMNS.length; column++) {
      const text = value(row, column);
      const cell = element("td", column === 1 ? text : NUMBERS.has(column) ? digits(text) : column === 8 ? null : text);
      if (NUMBERS.has(column)) cell.className = "num";
      if (column === 3 || column === 4) cell.className = "name";
      if (column === 10) cell.className = "why";
      if (column === 8) cell.append(element("span", text, { class: "verdict " + (VERDICTS.includes(text) ? text : "") }));
      tr.append(cell);
    }
    return tr;
  };
  const grow = (count) => {
    const part = document.createDocumentFragment();
    for (const row of found.slice(shown, shown + count)) part.append(line(row));
    body.append(part);
    shown = Math.min(found.length, shown + count);
    at("more").hidden = at("all").hidden = shown === found.length;
    at("measurements").classList.toggle("cut", shown < found.length);
    at("found").textContent = `${found.length} of ${rows.length} measurements` + (shown < found.length ? `, the first ${shown} shown` : "");
  };
  const show = () => {
    body.replaceChildren();
    shown = 0;
    grow(PAGE);
  };
  const sort = () => {
    const { column, up } = sorted;
    if (column < 0) return;
    const rank = (row) => column === 8 ? VERDICTS.indexOf(value(row, 8)) : value(row, column);
    found = found.map((row) => [rank(row), row]).sort(([a], [b]) => {
      if (a === null || b === null) return (a === null) - (b === null);
      return (a < b ? -1 : a > b ? 1 : 0) * (up ? 1 : -1);
    }).map(([, row]) => row);
  };
  const filter = () => {
    const words = at("find").value.toLowerCase().split(/\s+/).filter(Boolean);
    const chosen = texts.indexOf(at("find-case").value), verdict = texts.indexOf(at("find-verdict").value);
    const hits = words.map((word) => lower.map((text) => text.includes(word)));
    found = rows.filter((row) => (chosen < 0 || at("find-case").value === "" || row[0] === chosen)
      && (verdict < 0 || at("find-verdict").value === "" || row[8] === verdict)
      && hits.every((hit, k) => [0, 2, 3, 4, 8, 9, 10].some((column) => hit[row[column]]) || String(row[1]) === words[k]));
    sort();
    show();
  };
  const follow = () => {
    const id = decodeURIComponent(location.hash.slice(1));
    const details = document.getElementById(id)?.closest("details");
    if (details) {
      details.open = true;
      document.getElementById(id).scrollIntoView({ block: details.id === id ? "start" : "center" });
    }
    if (!id.startsWith("m-")) return;
    let place = found.findIndex((row) => link(row) === id);
    if (place < 0) {
      for (const field of ["find", "find-case", "find-verdict"]) at(field).value = "";
      found = rows;
      sort();
      show();
      place = found.findIndex((row) => link(row) === id);
    }
    if (place < 0) return;
    if (place >= shown) grow(place - shown + PAGE);
    for (const marked of body.querySelectorAll(".target")) marked.classList.remove("target");
    const row = document.getElementById(id);
    row.classList.add("target");
    row.focus({ preventScroll: true });
    row.scrollIntoView({ block: "center" });
  };

  COLUMNS.forEach((name, column) => {
    const th = element("th", null, { scope: "col", "aria-sort": "none" });
    if (NUMBERS.has(column)) th.className = "num";
    const button = element("button", name, { type: "button" });
    button.addEventListener("click", () => {
      sorted = { column, up: sorted.column === column ? !sorted.up : true };
      for (const other of head.cells) other.setAttribute("aria-sort", "none");
      th.setAttribute("aria-sort", sorted.up ? "ascending" : "descending");
      sort();
      show();
    });
    th.append(button);
    head.append(th);
  });
  for (const name of new Set(rows.map((row) => texts[row[0]]))) at("find-case").append(option(name));
  for (const name of VERDICTS) if (texts.includes(name)) at("find-verdict").append(option(name));
  at("filter").addEventListener("input", filter);
  at("filter").addEventListener("reset", () => setTimeout(filter));
  at("filter").addEventListener("submit", (event) => event.preventDefault());
  at("more").addEventListener("click", () => grow(PAGE));
  at("all").addEventListener("click", () => grow(found.length));
  addEventListener("hashchange", follow);
  addEventListener("beforeprint", () => { for (const one of document.querySelectorAll("details")) one.open = true; });
  show();
  follow();
})();
