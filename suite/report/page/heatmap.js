(() => {
  const table = document.getElementById("heatmap"), choice = document.getElementById("heatmap-case");
  const note = document.getElementById("heatmap-note");
  const digits = (value) => value >= 99.5 ? value.toFixed(0) : String(Number(value.toPrecision(2)));
  const ratio = (scale) => {
    if (Math.abs(scale - 1) < 1e-9) return "1";
    if (Math.abs(scale - 1) < 0.05) return scale.toFixed(2);
    return scale < 1 ? "1/" + digits(1 / scale) : digits(scale);
  };
  const cell = (value, above, reach, row, column) => {
    if (value === null) return element("td", "", { title: `${row}, ${column}: not measured together` });
    const made = element("td");
    let share;
    if (above) {
      share = Math.min(1, Math.abs(Math.log(value)) / reach);
      made.textContent = value > 0 ? ratio(value) : "–";
      made.className = Math.abs(value - 1) < 1e-9 ? "even" : value > 1 ? "up" : "down";
      made.title = `${row} is ${value} times ${column}`;
    } else {
      share = Math.min(1, value);
      made.textContent = value < 0.005 ? "0" : Math.round(100 * value);
      made.className = value < 0.005 ? "even" : "apart";
      made.title = `${row} and ${column}: ${(100 * value).toPrecision(3)} % in another direction`;
    }
    if (made.className !== "even") made.style.setProperty("--v", (0.08 + 0.92 * share).toFixed(3));
    return made;
  };
  const show = ({ title, names, cells, same, apart, of }) => {
    const count = names.length;
    const scales = cells.filter((value, k) => value > 0 && k % count > Math.floor(k / count));
    const reach = Math.max(Math.log(2), ...scales.map((scale) => Math.abs(Math.log(scale))));
    const head = element("tr");
    head.append(element("td"));
    for (const name of names) {
      const th = element("th", null, { scope: "col" });
      th.append(element("span", name));
      head.append(th);
    }
    const rows = names.map((name, i) => {
      const row = element("tr");
      row.append(element("th", name, { scope: "row" }));
      names.forEach((other, j) => row.append(
        i === j ? element("td", "", { class: "self" }) : cell(cells[i * count + j], j > i, reach, name, other)));
      return row;
    });
    const thead = element("thead"), tbody = element("tbody");
    thead.append(head);
    tbody.append(...rows);
    table.replaceChildren(element("caption", `Scale above the diagonal, direction in % below it: ${title}, ${of}`), thead, tbody);
    note.textContent = "On other batches it may differ: the table below takes the largest over all batches. An empty cell: "
      + "no case has both conventions, or no scale takes one to the other. "
      + (title === "all cases" && DATA.heatmaps.length > 2
      ? "Of all cases: each pair’s scale farthest from 1, and its largest direction. " : "")
      + (same.length ? `The same on these batches: ${same.join("; ")}.` : "")
      + (apart.length ? ` Other batches of this run tell these apart: ${apart.join("; ")}.` : "");
  };
  DATA.heatmaps.forEach((map, k) => choice.append(option(map.title, k)));
  choice.addEventListener("change", () => show(DATA.heatmaps[choice.value]));
  if (DATA.heatmaps[0].names.length) show(DATA.heatmaps[0]);
})();
