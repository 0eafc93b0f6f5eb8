"use strict";
// Sorts, filters, pages and downloads the tables of the report, shows the runs of a result one by one, copies commands, and
// switches the colours. The page is complete without it. It builds elements and sets their text; it never parses HTML. Cells are formatted as src/format.rs does.
(() => {
  const PAGE_ROWS = 100;
  const MIN_FILTERED_ROWS = 6;
  const HOUR = 3600e3;

  const element = (tag, properties, ...children) => {
    const made = Object.assign(document.createElement(tag), properties);
    made.append(...children);
    return made;
  };

  // Integers that a double cannot hold stay exact, where the browser tells the source of a number.
  const parse = (text) =>
    JSON.parse(text, (key, value, context) =>
      typeof value === "number" && Number.isInteger(value) && !Number.isSafeInteger(value) && /^-?\d+$/.test(context?.source ?? "")
        ? BigInt(context.source)
        : value,
    );

  const group = (text) => {
    const [whole, fraction] = text.replace("-", "\u2212").split(".");
    const grouped = whole.replace(/\B(?=(\d{3})+$)/g, ",");
    return fraction ? `${grouped}.${fraction}` : grouped;
  };
  const formatNumber = (value) => {
    if (typeof value === "bigint" || Number.isSafeInteger(value)) return group(String(value));
    const size = Math.abs(value);
    if (size < 1e-6 || size >= 9.007e15) return value.toExponential().replace("+", "").replace(/-/g, "\u2212");
    const digits = size >= 1 ? 4 : 4 + Math.max(0, Math.floor(-Math.log10(size)));
    return group(value.toFixed(digits).replace(/\.?0+$/, ""));
  };
  const CONTROLS = /[\u0000-\u0008\u000b-\u001f\u007f-\u009f\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069]/g;
  const showControls = (text) => text.replace(CONTROLS, (letter) => `\\u{${letter.codePointAt(0).toString(16)}}`);
  const toJson = (value) => JSON.stringify(value, (key, part) => (typeof part === "bigint" ? JSON.rawJSON?.(String(part)) ?? String(part) : part));
  const format = (value, kind) => {
    if (value === null) return "(null)";
    if (kind === "number" && typeof value !== "string") return formatNumber(value);
    if (kind === "date") return value.slice(0, 10);
    if (kind === "time") return value.replace("T", " ").replace(/Z$/, " UTC");
    return showControls(typeof value === "object" ? toJson(value) : String(value));
  };

  const collator = new Intl.Collator(undefined, { numeric: true });
  const isNumber = (value) => typeof value === "number" || typeof value === "bigint";
  const compare = (a, b) => {
    if (isNumber(a) && isNumber(b)) return a < b ? -1 : a > b ? 1 : 0;
    const text = (value) => (typeof value === "object" ? toJson(value) : String(value));
    return collator.compare(text(a), text(b));
  };

  const download = (name, type, content) => {
    const url = URL.createObjectURL(new Blob([content], { type }));
    const link = element("a", { href: url, download: name });
    document.body.append(link);
    link.click();
    link.remove();
    setTimeout(() => URL.revokeObjectURL(url), 10_000);
  };
  const toCsv = ({ columns, rows }) => {
    const field = (value) => {
      if (value === null) return "";
      const text = typeof value === "object" ? toJson(value) : String(value);
      return text === "" || /[",\n\r]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text;
    };
    return [columns, ...rows].map((row) => row.map(field).join(",")).join("\n") + "\n";
  };

  const enhance = (panel) => {
    const block = panel.querySelector("script.data");
    if (!block) return;
    const name = panel.dataset.result ?? panel.dataset.table;
    // The history of a result has a table too; the rows are first.
    const region = panel.querySelector(".rows");
    const [tools, body] = [panel.querySelector(".tools"), region.querySelector("tbody")];
    const heads = [...region.querySelectorAll("thead th")];
    const kinds = heads.map((head) => head.dataset.kind);

    // The data is parsed when it is needed first: most readers only look.
    let answer = null;
    let texts = null;
    const state = { sort: -1, descending: false, filter: "", page: 0 };
    const data = () => (answer ??= parse(block.textContent));
    const total = Number(block.dataset.rows);

    const cell = (value, index) => {
      const text = format(value, kinds[index]);
      const made = element("td", { textContent: text });
      if (kinds[index] === "number" || kinds[index] === "plain") made.classList.add("n");
      if (value === null) made.classList.add("null");
      if (kinds[index] === "number" && typeof value === "number" && Number(text.replaceAll(",", "").replaceAll("\u2212", "-")) !== value) {
        made.title = String(value);
      }
      return made;
    };
    const visible = () => {
      const { rows } = data();
      let shown = rows.map((row, index) => index);
      if (state.filter) {
        texts ??= rows.map((row) => row.map((value, index) => format(value, kinds[index])).join("\n").toLowerCase());
        shown = shown.filter((index) => texts[index].includes(state.filter));
      }
      if (state.sort >= 0) {
        const sign = state.descending ? -1 : 1;
        shown.sort((one, other) => {
          const [a, b] = [rows[one][state.sort], rows[other][state.sort]];
          // Nulls are last either way, and equal rows keep their order.
          if (a === null || b === null) return (a === null) - (b === null) || one - other;
          return sign * compare(a, b) || one - other;
        });
      }
      return shown;
    };
    const status = element("output", {});
    const previous = element("button", { type: "button", textContent: "Previous" });
    const next = element("button", { type: "button", textContent: "Next" });
    const place = element("span", {});
    const pager = element("div", { className: "pager", hidden: total <= PAGE_ROWS }, previous, place, next);
    const count = (rows) => `${formatNumber(rows)} ${rows === 1 ? "row" : "rows"}`;
    const showPlace = (shown) => {
      const pages = Math.max(1, Math.ceil(shown / PAGE_ROWS));
      place.textContent = `Page ${state.page + 1} of ${formatNumber(pages)}`;
      previous.disabled = state.page === 0;
      next.disabled = state.page + 1 >= pages;
      pager.hidden = pages === 1;
      status.textContent = state.filter ? `${formatNumber(shown)} of ${count(total)}` : "";
    };
    const show = () => {
      const shown = visible();
      const { rows } = data();
      const begin = state.page * PAGE_ROWS;
      const page = shown.slice(begin, begin + PAGE_ROWS).map((index) => element("tr", {}, ...rows[index].map(cell)));
      if (page.length === 0) {
        page.push(element("tr", {}, element("td", { colSpan: heads.length, className: "null", textContent: "No row contains this text." })));
      }
      // The height stays, so that the panels below do not jump.
      if (region.classList.contains("short")) region.style.minHeight ||= `${region.offsetHeight}px`;
      body.replaceChildren(...page);
      region.scrollTop = 0;
      showPlace(shown.length);
    };

    heads.forEach((head, index) => {
      const button = element("button", { type: "button", textContent: head.textContent });
      button.addEventListener("click", () => {
        state.descending = state.sort === index ? !state.descending : kinds[index] === "number";
        state.sort = index;
        state.page = 0;
        heads.forEach((other) => other.removeAttribute("aria-sort"));
        head.setAttribute("aria-sort", state.descending ? "descending" : "ascending");
        show();
      });
      head.replaceChildren(button);
    });
    if (total >= MIN_FILTERED_ROWS) {
      const filter = element("input", { type: "search", placeholder: "Filter rows", ariaLabel: "Filter rows" });
      filter.addEventListener("input", () => {
        state.filter = filter.value.trim().toLowerCase();
        state.page = 0;
        show();
      });
      tools.append(filter, status);
    }
    const csv = element("button", { type: "button", textContent: "CSV", title: "Download all rows as CSV" });
    csv.addEventListener("click", () => download(`${name}.csv`, "text/csv", toCsv(data())));
    const json = element("button", { type: "button", textContent: "JSON", title: "Download all rows as JSON" });
    json.addEventListener("click", () => download(`${name}.json`, "application/json", block.textContent));
    tools.append(csv, json);
    const file = panel.querySelector("script.parquet");
    if (file) {
      const parquet = element("button", { type: "button", textContent: "Parquet", title: "Download all rows as Parquet" });
      const decode = () => Uint8Array.from(atob(file.textContent), (letter) => letter.charCodeAt(0));
      parquet.addEventListener("click", () => download(`${name}.parquet`, file.type, decode()));
      tools.append(parquet);
    }
    previous.addEventListener("click", () => { state.page -= 1; show(); });
    next.addEventListener("click", () => { state.page += 1; show(); });
    const more = panel.querySelector(".more");
    if (more) more.replaceWith(pager);
    else region.after(pager);
    showPlace(total);
  };

  // A slider over the runs of a result. It says what the table has in the run's row, and marks its point in the chart.
  const slide = (history) => {
    const heads = [...history.querySelectorAll("thead th")].map((head) => head.textContent);
    const rows = [...history.querySelectorAll("tbody tr")].reverse();
    const shown = rows.findIndex((row) => row.ariaCurrent === "true");
    const input = element("input", { type: "range", min: 0, max: rows.length - 1, step: 1, value: shown < 0 ? rows.length - 1 : shown, ariaLabel: "Run" });
    const text = element("p", {});
    const marks = [...history.querySelectorAll(".chart svg")].flatMap((svg) => {
      const points = svg.querySelector("polyline")?.getAttribute("points").split(" ") ?? [];
      if (points.length !== rows.length) return [];
      const mark = document.createElementNS("http://www.w3.org/2000/svg", "circle");
      mark.setAttribute("class", "mark");
      mark.setAttribute("r", "6");
      svg.append(mark);
      return [{ mark, points: points.map((point) => point.split(",")) }];
    });
    const show = () => {
      const index = Number(input.value);
      const cells = [...rows[index].cells];
      const [run, ...parts] = cells.map((cell, place) => (place === 0 || place === cells.length - 1 ? cell.textContent : `${heads[place]} ${cell.textContent}`));
      const link = cells[0].querySelector("a");
      rows.forEach((row, place) => row.classList.toggle("selected", place === index));
      for (const { mark, points } of marks) {
        mark.setAttribute("cx", points[index][0]);
        mark.setAttribute("cy", points[index][1]);
      }
      input.ariaValueText = `${run}: ${parts.join(", ")}`;
      text.replaceChildren(element("strong", { textContent: run }), `: ${parts.join(", ")}`);
      if (link && index !== shown) text.append(" ", element("a", { href: link.href, textContent: "Show this run" }));
    };
    input.addEventListener("input", show);
    show();
    history.querySelector(".rows").before(element("div", { className: "slider" }, input, text));
  };

  // Whoever chose a run in a history goes on from there.
  const reopenHistory = () => {
    const panel = location.hash && location.search && document.getElementById(decodeURIComponent(location.hash.slice(1)));
    const history = panel && panel.querySelector("details.history");
    if (history) history.open = true;
  };

  const copy = (place) => {
    const code = place.querySelector("code");
    const button = element("button", { type: "button", textContent: "Copy" });
    button.addEventListener("click", async () => {
      try {
        await navigator.clipboard.writeText(code.textContent);
        button.textContent = "Copied";
      } catch {
        // A browser may forbid it, as for pages without encryption.
        getSelection().selectAllChildren(code);
        button.textContent = "Selected";
      }
      setTimeout(() => { button.textContent = "Copy"; }, 2000);
    });
    place.append(button);
  };

  const switchColours = () => {
    const root = document.documentElement;
    // A browser may forbid storage, as for files.
    const stored = { get: () => { try { return localStorage.getItem("theme"); } catch { return null; } },
      set: (theme) => { try { localStorage.setItem("theme", theme); } catch { /* Only this page changes. */ } } };
    const button = element("button", { type: "button", id: "theme" });
    const isDark = () => (root.dataset.theme ?? (matchMedia("(prefers-color-scheme: dark)").matches ? "dark" : "light")) === "dark";
    const write = () => { button.textContent = isDark() ? "Light colours" : "Dark colours"; };
    const theme = stored.get();
    if (theme === "dark" || theme === "light") root.dataset.theme = theme;
    button.addEventListener("click", () => {
      root.dataset.theme = isDark() ? "light" : "dark";
      stored.set(root.dataset.theme);
      write();
    });
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", write);
    write();
    document.getElementById("switches").append(button);
  };

  // An old page must not look like a new one.
  const tellAge = () => {
    const place = document.getElementById("age");
    if (!place) return;
    const at = new Date(place.querySelector("time").dateTime);
    const note = element("span", {});
    place.append(note);
    const tell = () => {
      const age = Date.now() - at;
      const [size, unit] = age < HOUR ? [age / 60e3, "minute"] : age < 48 * HOUR ? [age / HOUR, "hour"] : [age / (24 * HOUR), "day"];
      const whole = Math.max(0, Math.floor(size));
      note.textContent = age < 60e3 ? ", just now" : `, ${formatNumber(whole)} ${unit}${whole === 1 ? "" : "s"} ago${age > 24 * HOUR ? ": newer rows are not in it" : ""}`;
      note.className = age > 24 * HOUR ? "stale" : "";
    };
    tell();
    setInterval(tell, 60e3);
  };

  // On a wall, a page of a server shows the newest results. It does not disappear while somebody reads it.
  const reload = () => {
    const seconds = Number(document.documentElement.dataset.reload);
    if (!seconds) return;
    let used = 0;
    for (const kind of ["pointerdown", "keydown", "input", "wheel"]) addEventListener(kind, () => { used = Date.now(); }, { passive: true });
    setInterval(() => {
      if (!document.hidden && Date.now() - used > seconds * 1e3) location.reload();
    }, seconds * 1e3);
  };

  switchColours();
  tellAge();
  reload();
  document.querySelectorAll(".panel:is([data-result], [data-table])").forEach(enhance);
  document.querySelectorAll("details.history").forEach(slide);
  document.querySelectorAll(".command").forEach(copy);
  reopenHistory();
})();
