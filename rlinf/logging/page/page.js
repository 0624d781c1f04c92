// The page about a run. Texts of a run enter it as text, never as markup.
(() => {
"use strict";

const EVERY = 2000, EVERY_HIDDEN = 15000;  // ms between two looks at a run
const HIDDEN_KEYS = /(^|\.)(log_path|video_base_dir)$/;  // differ between any two runs
const byId = (id) => document.getElementById(id);
const frozen = JSON.parse(byId("frozen").textContent);

// ---- small helpers ---------------------------------------------------------------------------

function node(tag, attributes = {}, ...children) {
  const made = tag.startsWith("svg:")
    ? document.createElementNS("http://www.w3.org/2000/svg", tag.slice(4))
    : document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (value === false || value === null || value === undefined) continue;
    if (name.startsWith("on")) made.addEventListener(name.slice(2), value);
    else made.setAttribute(name, value === true ? "" : value);
  }
  made.append(...children.flat().filter((child) => child !== null && child !== undefined));
  return made;
}

const row = (tag, cells, attributes = {}) =>
  node("tr", attributes, cells.map((cell) => node(tag, {}, cell)));
const percent = (share, digits = 0) =>
  share === null || share === undefined ? "–" : `${(100 * share).toFixed(digits)}%`;
const signed = (share) => `${share < 0 ? "−" : "+"}${Math.abs(100 * share).toFixed(1)}`;
const plural = (count, word) => `${count} ${word}${count === 1 ? "" : "s"}`;

function short(value) {
  if (value === null || value === undefined) return "–";
  if (value === 0) return "0";
  const size = Math.abs(value);
  return size < 1e-3 || size >= 1e6 ? value.toExponential(1) : String(+value.toPrecision(4));
}

function duration(seconds) {
  if (seconds < 59.5) return `${seconds < 9.95 ? seconds.toFixed(1) : Math.round(seconds)} s`;
  if (seconds < 600) {
    const whole = Math.round(seconds);
    return `${Math.floor(whole / 60)} min ${whole % 60 ? `${whole % 60} s` : ""}`.trim();
  }
  const minutes = Math.round(seconds / 60);
  if (minutes < 60) return `${minutes} min`;
  const hours = Math.floor(minutes / 60);
  return hours < 48 ? `${hours} h ${minutes % 60} min` : `${Math.round(hours / 24)} days`;
}

// Builds a part anew only where what it shows has changed: a video goes on playing.
const shown = new Map();
function show(id, content, build) {
  const text = JSON.stringify(content);
  if (shown.get(id) === text) return;
  shown.set(id, text);
  byId(id).replaceChildren(...[build()].flat().filter(Boolean));
}

const color = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();

// ---- what is known of the runs ---------------------------------------------------------------

const known = new Map();  // id -> the run, all answers put together
let listing = { runs: [], folder: "", first: null };
let current = null, other = null;  // ids

function merge(answer) {
  const before = known.get(answer.id);
  if (answer.whole || !before) {
    known.set(answer.id, answer);
    return;
  }
  const old = ([step]) => Math.floor(step / answer.width) < answer.from;
  const curves = { ...before.curves };
  for (const [name, added] of Object.entries(answer.curves)) {
    curves[name] = [...(curves[name] || []).filter(old), ...added];
  }
  known.set(answer.id, {
    ...before, ...answer, curves,
    training: [...before.training.filter(old), ...answer.training],
    meanings: { ...before.meanings, ...answer.meanings },
  });
}

const texts = new Map();  // address without position -> last answer
async function ask(address, query = "") {
  const response = await fetch(address + query, { cache: "no-cache" });
  if (!response.ok) throw new Error(`${response.status}`);
  const text = await response.text();
  if (texts.get(address) === query + text) return null;
  texts.set(address, query + text);
  return JSON.parse(text);
}

async function fetchRun(id) {
  if (!id) return false;
  const before = known.get(id);
  const answer = await ask(`api/runs/${id}`, before ? `?since=${before.position}` : "");
  if (answer) merge(answer);
  return Boolean(answer && answer.behind);
}

let timer = null, lost = "";  // why the page stands still
async function look() {
  clearTimeout(timer);
  let behind = false;
  try {
    const answer = await ask("api/runs");
    if (answer) listing = answer;
    behind = (await Promise.all([current, other].map(fetchRun))).some(Boolean);
    lost = "";
  } catch (error) {
    lost = { 404: "the folder of this run is gone", 500: "this run cannot be read" }[error.message]
      || "no answer from rlinf watch";
  }
  render();
  timer = setTimeout(look, behind ? 50 : document.hidden ? EVERY_HIDDEN : EVERY);
}

// ---- addresses: #ID of a run, #ID+ID of a comparison ------------------------------------------

function readAddress() {
  const ids = location.hash.slice(1);
  [current, other] = /^[0-9a-f]{12}(\+[0-9a-f]{12})?$/.test(ids)
    ? [...ids.split("+"), null] : [null, null];
}

function go(id, beside = null) {
  const address = id ? `#${id}${beside ? `+${beside}` : ""}` : "#";
  if (location.hash === address) return;
  history.pushState(null, "", address);
  moved();
}

function moved() {
  readAddress();
  shown.clear();
  removeCharts();
  render();
  look();
}

// ---- charts ----------------------------------------------------------------------------------

const charts = new Map();  // key -> {plot, figure, ...}

function removeCharts() {
  for (const chart of charts.values()) { chart.watcher.disconnect(); chart.plot.destroy(); chart.figure.remove(); }
  charts.clear();
}

// Columns of uPlot for one metric of one run: step, value, lowest, highest.
function columns(curve) {
  const [x, y, low, high] = [[], [], [], []];
  for (const [step, value, least = value, most = value] of curve) {
    x.push(step); y.push(value); low.push(least); high.push(most);
  }
  return [x, y, low, high];
}

const nothing = () => [[], [], [], []];

// One to two curves with their bands; `marks` are points with intervals, drawn on top.
function lines(curves) {
  const tables = curves.map((curve) => (curve && curve.length ? columns(curve) : nothing()));
  return tables.length === 1 ? tables[0] : uPlot.join(tables);
}

function series(index) {
  const letter = index ? "b" : "a";
  const edge = { stroke: "transparent", width: 0, points: { show: false } };
  return [
    { stroke: () => color(`--${letter}`), width: 2, points: { show: (u, i) => few(u, i) } }, edge, edge,
  ];
}

// Distances of marks on the axis of the steps: 1, 2 or 5 times a power of ten.
const WHOLE = [...Array(10).keys()].flatMap((power) => [1, 2, 5].map((factor) => factor * 10 ** power));

// The range with a little air; a constant gets a range of its own size.
function padded(plot, low, high) {
  if (low === null || high === null) return [0, 1];
  const air = .06 * (high - low) || .5 * Math.abs(high) || 1;
  return [low - air, high + air];
}

function few(plot, index) {
  let count = 0;
  for (const value of plot.data[index]) if (value !== null && value !== undefined && ++count > 1) return false;
  return count === 1;
}

function makeChart(key, parent, figure, options, two) {
  const area = node("div", { class: "plot" });
  figure.append(area);
  parent.append(figure);
  const axis = (more) => ({
    stroke: () => color("--dim"), grid: { stroke: () => color("--rule"), width: 1 },
    ticks: { show: false }, font: "11px system-ui, sans-serif", ...more,
  });
  const band = (first, letter) => ({ series: [first + 2, first + 1], fill: () => color(`--${letter}-soft`) });
  const chart = { figure, marks: [] };
  const width = () => Math.max(200, area.clientWidth || 300);
  chart.plot = new uPlot({
    width: width(), height: options.height, padding: [8, 8, 0, 0],
    scales: { x: { time: false, range: (u, low, high) => (low === high ? [low - 1, high + 1] : [low, high]) },
      y: options.scale || { range: padded } },
    axes: [
      axis({ size: 24, incrs: WHOLE, values: (u, all) => all.map(String) }),
      axis({ size: 50, values: (u, all) => all.map(options.label || short) }),
    ],
    series: [{}, ...series(0), ...(two ? series(1) : [])],
    bands: [band(1, "a"), ...(two ? [band(4, "b")] : [])],
    legend: { show: false },
    cursor: { sync: { key: "steps" }, y: false, drag: { x: true, y: false } },
    hooks: {
      setCursor: [(plot) => options.read(plot.cursor.idx, plot)],
      draw: [(plot) => drawMarks(plot, chart.marks)],
    },
  }, options.data, area);
  chart.watcher = new ResizeObserver(() => chart.plot.setSize({ width: width(), height: options.height }));
  chart.watcher.observe(area);
  figure.addEventListener("keydown", (event) => {
    const by = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
    if (!by) return;
    event.preventDefault();
    const steps = chart.plot.data[0];
    const from = chart.plot.cursor.idx ?? (by < 0 ? steps.length : -1);
    const at = Math.min(Math.max(from + by, 0), steps.length - 1);
    chart.plot.setCursor({ left: chart.plot.valToPos(steps[at], "x"), top: 0 });
  });
  charts.set(key, chart);
  return chart;
}

// Evaluations: a point with its interval.
function drawMarks(plot, marks) {
  const pen = plot.ctx;
  const ratio = devicePixelRatio;
  pen.save();
  for (const { step, value, low, high, letter } of marks) {
    const x = plot.valToPos(step, "x", true);
    if (x < plot.bbox.left - 1 || x > plot.bbox.left + plot.bbox.width + 1) continue;
    const place = (share) => plot.valToPos(share, "y", true);
    pen.strokeStyle = pen.fillStyle = color(`--${letter}`);
    pen.lineWidth = 1.5 * ratio;
    pen.beginPath();
    if (low !== null && high !== null) {
      for (const end of [low, high]) { pen.moveTo(x - 4 * ratio, place(end)); pen.lineTo(x + 4 * ratio, place(end)); }
      pen.moveTo(x, place(low)); pen.lineTo(x, place(high));
    }
    pen.stroke();
    pen.beginPath();
    pen.arc(x, place(value), 4.5 * ratio, 0, 2 * Math.PI);
    pen.fill();
    pen.strokeStyle = color("--card");
    pen.stroke();
  }
  pen.restore();
}

// ---- the parts of the page -------------------------------------------------------------------

function stateOf(run, now = Date.now() / 1000) {
  if (lost) return ["lost", lost];
  const age = run.written ? Math.max(0, now - run.written) : null;
  const ago = age === null ? "" : `, last line ${duration(age)} ago`;
  if (run.writing) return ["running", `running${ago}`];
  if (run.finished) return ["finished", "finished"];
  if (run.writing === null && age !== null && age < 600) return ["running", `seems to be running${ago}`];
  return ["stopped", `not running${ago}`];
}

function stateNode(run, long) {
  const [kind, text] = stateOf(run);
  return node("span", { class: `state ${kind}` }, long ? text : text.split(",")[0]);
}

function render() {
  const run = known.get(current);
  const beside = run && known.get(other);
  byId("runs").hidden = Boolean(current);
  byId("view").hidden = !run;
  if (!frozen) renderChoices();
  const status = byId("status");
  if (run) status.replaceChildren(stateNode(run, true));
  else status.replaceChildren(lost ? node("span", { class: "state lost" }, lost) : "");
  if (!current) renderRuns();
  if (run) renderRun(run, beside);
}

function renderChoices() {
  for (const id of ["to-runs", "run-choice", "other-choice"]) byId(id).hidden = !current;
  const names = listing.runs.map(({ id, name }) => [id, name]);
  const fill = (select, choices, chosen) => {
    const key = JSON.stringify([choices, chosen]);
    if (select.dataset.key === key || document.activeElement === select) return;
    select.dataset.key = key;
    select.replaceChildren(...choices.map(([id, name]) =>
      node("option", { value: id, selected: id === chosen }, name)));
  };
  fill(byId("run"), names, current);
  fill(byId("other"), [["", "no other run"], ...names.filter(([id]) => id !== current)], other || "");
}

function renderRuns() {
  byId("runs-folder").textContent = listing.folder;
  document.title = "Runs";
  const rows = listing.runs.map((run) => ({ ...run, state: stateOf(run)[0] }));
  show("runs-table", [rows.map(({ written, ...rest }) => rest), lost], () => rows.length ? [
    row("th", ["run", "state", "step", "success", "95% interval", "in training"]),
    ...rows.map((run) => row("td", [
      node("a", { href: `#${run.id}` }, run.name),
      stateNode(run, false),
      run.step === null ? "–" : `${run.step}${run.total ? ` of ${run.total}` : ""}`,
      percent(run.success, 1),
      run.low === null || run.high === null ? "–" : `${percent(run.low, 1)} to ${percent(run.high, 1)}`,
      percent(run.training, 1),
    ])),
  ] : [row("td", ["No run yet. This list fills itself when one begins."])]);
}

function renderRun(run, beside) {
  document.title = beside ? `${run.name} | ${beside.name}` : run.name;
  byId("name").textContent = run.name;
  byId("folder").textContent = run.folder;
  byId("about").textContent = [
    run.model && run.task ? `${run.model} on ${run.task}` : "",
    run.began ? `began ${new Date(run.began * 1000).toLocaleString()}` : "",
    run.behind ? "reading…" : "",
  ].filter(Boolean).join(" · ");
  renderCards(run, beside);
  renderSuccess(run, beside);
  renderLimit(run);
  renderVideos(run);
  renderFaults(run);
  renderMetrics(run, beside);
  renderSetup(run, beside);
}

function renderCards(run, beside) {
  const evaluation = run.evaluations.at(-1), theirs = beside && beside.evaluations.at(-1);
  const value = (name) => run.latest[name];
  const left = run.total && value("time/step") ? (run.total - run.step) * value("time/step") : 0;
  const faults = Object.values(run.faults.counts).reduce((sum, count) => sum + count, 0);
  const cards = [
    ["success, evaluated", evaluation ? percent(evaluation.success, 1) : "–", evaluation && evaluation.low !== null
      ? `${percent(evaluation.low)} to ${percent(evaluation.high)}, n ${evaluation.episodes}` : "", theirs && percent(theirs.success, 1)],
    ["success in training", percent(value("env/success_once"), 1), "", beside && percent(beside.latest["env/success_once"], 1)],
    ["step", run.total ? `${run.step} of ${run.total}` : `${run.step}`,
      left > 0 && stateOf(run)[0] === "running" ? `about ${duration(left)} left` : "", beside && `${beside.step}`, run.total],
    ["simulator steps per second", short(value("time/env_steps_per_second")), "", beside && short(beside.latest["time/env_steps_per_second"])],
    ["faults survived", short(faults), "", null],
  ];
  show("cards", [cards, beside && beside.name], () => cards.map(([title, text, more, second, of]) =>
    node("div", { class: "card" }, node("span", {}, title), node("b", {}, text),
      of ? node("progress", { value: run.step, max: of, "aria-label": "progress" }) : null,
      more ? node("span", {}, more) : null, second ? node("i", {}, `${second} beside`) : null)));
}

function renderSuccess(run, beside) {
  const runs = [run, beside].filter(Boolean);
  const trained = runs.map((one) => one.training.map(([x, y, low, high]) => [x, y, low, high]));
  const marks = runs.flatMap((one, index) => one.evaluations.map((e) =>
    ({ step: e.step, value: e.success, low: e.low, high: e.high, letter: index ? "b" : runs.length > 1 ? "a" : "b" })));
  // A point of its own for every evaluation, so that the axis reaches it.
  const curves = trained.map((curve, index) => {
    const steps = new Set(curve.map(([step]) => step));
    const bare = runs[index].evaluations.filter((e) => !steps.has(e.step)).map((e) => [e.step, undefined]);
    return [...curve, ...bare].sort((one, two) => one[0] - two[0]);
  });
  const empty = !curves.some((curve) => curve.length);
  if (empty) {
    const text = run.trials ? endedSoFar(run.trials) : "No episode has ended yet.";
    show("success-table", text, () => row("td", [text]));
    return;
  }
  const data = lines(curves);
  let chart = charts.get("success");
  if (!chart) {
    const reading = node("output");
    const figure = node("figure", { tabindex: 0, role: "group", "aria-label": "success by step; arrow keys read values" });
    const key = runs.length > 1
      ? [node("span", {}, node("i"), run.name), node("span", {}, node("i", { class: "b" }), beside.name),
        node("span", {}, "lines: training; points: evaluations with 95% interval")]
      : [node("span", {}, node("i"), "training"), node("span", {}, node("i", { class: "b dots" }), "evaluation"),
        node("span", {}, "shaded and barred: 95% interval")];
    figure.append(node("figcaption", {}, node("span", { class: "key" }, key), reading));
    chart = makeChart("success", byId("success-chart"), figure, {
      height: 280, data, scale: { range: [0, 1] }, label: (value) => percent(value),
      read: (index, plot) => {
        const step = index === null || index === undefined ? null : plot.data[0][index];
        const parts = step === null ? [] : [1, 4].filter((i) => plot.data[i])
          .map((i) => plot.data[i][index]).filter((y) => y !== undefined && y !== null).map((y) => percent(y, 1));
        const at = chart ? chart.marks.filter((mark) => mark.step === step).map((mark) => `evaluated ${percent(mark.value, 1)}`) : [];
        reading.value = step === null ? "" : `step ${step}: ${[...parts, ...at].join(", ") || "–"}`;
      },
    }, runs.length > 1);
  }
  chart.marks = marks;
  chart.plot.setData(data);
  renderSuccessTable(run, beside);
}

// Newcombe 1998, method 10: distances to the bounds add up as squares.
function difference(before, after) {
  const change = after.success - before.success;
  if ([before.low, before.high, after.low, after.high].some((end) => end === null)) return [change, null, null];
  return [change,
    change - Math.hypot(after.success - after.low, before.high - before.success),
    change + Math.hypot(after.high - after.success, before.success - before.low)];
}

function renderSuccessTable(run, beside) {
  const first = run.evaluations[0], last = run.evaluations.at(-1);
  const theirs = beside && beside.evaluations.at(-1);
  const label = (e) => (e.step ? `after step ${e.step}` : "before training");
  const cells = (e, text) => [text, percent(e.success, 1),
    e.low === null ? "–" : `${percent(e.low, 1)} to ${percent(e.high, 1)}`, e.episodes ?? "–"];
  const pair = beside ? [theirs, last] : first !== last ? [first, last] : [last];
  const rows = pair.filter(Boolean).map((e) => cells(e, beside
    ? `${e === last ? run.name : beside.name}, ${label(e)}` : label(e)));
  if (pair.length === 2 && pair.every(Boolean)) {
    const [change, low, high] = difference(...pair);
    rows.push([beside ? "difference" : "change", `${signed(change)} points`,
      low === null ? "–" : `${signed(low)} to ${signed(high)}`, ""]);
  }
  show("success-table", rows, () => rows.length ? [row("th", ["evaluation", "success", "95% interval", "episodes"]),
    ...rows.map((cells_, index) => row("td", cells_, index === 2 ? { class: "change" } : {}))] : null);
}

function renderLimit(run) {
  byId("limit").hidden = !run.limit && !run.timeline;
  show("limit-body", run.limit, () => {
    if (!run.limit) return node("p", { class: "dim" }, "No iteration is complete yet.");
    const total = Object.values(run.limit.seconds).reduce((sum, one) => sum + one, 0);
    const stack = Object.entries(run.limit.seconds).map(([phase, seconds]) =>
      node("span", { class: phase, style: `flex: ${Math.max(seconds / total, .002)}`, title: `${phase}: ${duration(seconds)}` },
        seconds / total > .08 ? `${phase} ${duration(seconds)}` : ""));
    return [
      node("p", { class: "sentence" }, run.limit.sentence),
      node("ul", { class: "settings", "aria-label": "settings to try" }, node("li", {}, "Try"),
        run.limit.settings.map((setting) => node("li", {}, node("code", {}, setting)))),
      node("div", { class: "stack", role: "img", "aria-label":
        `seconds of an iteration: ${Object.entries(run.limit.seconds).map(([p, s]) => `${p} ${duration(s)}`).join(", ")}` }, stack),
      node("p", { class: "dim" }, "Busy: " + Object.entries({ env: "simulators", rollout: "policy", actor: "learner" })
        .filter(([name]) => name in run.limit.busy)
        .map(([name, text]) => `${text} ${percent(Math.max(0, run.limit.busy[name]))}`).join(", ") + " of the iteration."),
    ];
  });
  show("timeline", run.timeline, () => run.timeline && timelineNode(run.timeline));
}

function timelineNode({ step, seconds, lanes, hidden }) {
  const height = 16, left = 130, width = 1000, bottom = 22;
  const x = (time) => left + (width - left) * (time / seconds);
  const svg = node("svg:svg", { viewBox: `0 0 ${width} ${lanes.length * height + bottom}`, role: "img",
    "aria-label": `who worked and who waited in iteration ${step}` });
  for (let part = 0; part <= 5; part++) {
    const at = x(seconds * part / 5);
    svg.append(node("svg:line", { x1: at, x2: at, y1: 0, y2: lanes.length * height }),
      node("svg:text", { x: at, y: lanes.length * height + 15, "text-anchor": part === 5 ? "end" : "middle" }, duration(seconds * part / 5)));
  }
  lanes.forEach(({ worker, lane, spans }, index) => {
    const top = index * height;
    svg.append(node("svg:text", { x: 0, y: top + 12 }, `${worker} ${lane}`.trim().slice(0, 20)));
    for (const [began, ended, name, busy] of spans) {
      const kind = busy ? worker.replace(/\d+$/, "") : "wait";
      svg.append(node("svg:rect", { class: kind, x: x(began), y: top + 2, height: height - 4, rx: 1,
        width: Math.max(x(ended) - x(began), .6) },
      node("svg:title", {}, `${worker} ${lane}: ${busy ? "" : "waiting, "}${name}, ${duration(ended - began)}`)));
    }
  });
  return [node("h3", {}, `Iteration ${step}: coloured is work, grey is waiting for another process`),
    node("div", { class: "wide", tabindex: 0, role: "group", "aria-label": "timeline" }, svg),
    hidden ? node("p", { class: "dim" }, `${plural(hidden, "more lane")} not shown; trace.json has all.`) : null];
}

// A video element keeps its connection open, and a browser has six for one server: the videos would
// hold up what follows the run. So each is fetched whole, when it comes into sight.
async function fetchVideo(address) {
  const response = await fetch(address);
  if (!response.ok) throw new Error(`${response.status}`);
  return URL.createObjectURL(await response.blob());
}

function whenSeen(element, act) {
  new IntersectionObserver((entries, observer) => {
    if (!entries.some((entry) => entry.isIntersecting)) return;
    observer.disconnect();
    act();
  }, { rootMargin: "300px" }).observe(element);
}

const endedSoFar = ({ running, done, solved }) =>
  `Success in ${solved} of ${done} episodes of the ${running ? "running evaluation so far" : "newest evaluation"}.`;

// One episode of the newest evaluation: its result, and its video where it has one of its own.
function renderTrials(run) {
  show("trials", run.trials && [run.id, run.trials], () => {
    if (!run.trials) return null;
    const { running, trials } = run.trials;
    if (running || !trials.length) return node("p", {}, endedSoFar(run.trials));
    const name = ({ task, trial, repeat, success }) =>
      `${success ? "solved" : "failed"}: task ${task}, start ${trial}${repeat ? `, repeat ${repeat + 1}` : ""}`;
    const chosen = node("div", { id: "trial" });
    const choice = node("select", { id: "trial-choice" }, trials.map((trial, index) => node("option", { value: index }, name(trial))));
    const choose = () => {
      const trial = trials[choice.value];
      const own = trial.video && run.videos.some(({ path }) => path === trial.video);
      const video = own && node("video", { controls: true, muted: true, playsinline: true });
      const address = own && addressOf(run, trial.video);
      if (own && frozen) video.src = address;
      else if (own) fetchVideo(address).then((source) => { video.src = source; }, () => video.remove());
      chosen.replaceChildren(node("p", {}, node("b", {}, name(trial)), ` after ${trial.steps} steps`,
        own ? "" : "; it has no video of its own (see env.eval.video_cfg.only)"), ...(own ? [video] : []));
    };
    choice.addEventListener("change", choose);
    choose();
    return [node("label", {}, "Newest evaluation, episode ", choice), chosen];
  });
}

const addressOf = (run, path) =>
  (frozen ? "" : `api/runs/${run.id}/`) + path.split("/").map(encodeURIComponent).join("/");

function renderVideos(run) {
  byId("videos").hidden = !run.videos.length && !run.trials;
  byId("videos-title").hidden = !run.videos.length;
  renderTrials(run);
  show("videos-body", run.videos, () => {
    for (const video of byId("videos-body").querySelectorAll("video")) URL.revokeObjectURL(video.src);
    return run.videos.slice(0, 12).map(({ path, episodes, failed }) => {
    const address = addressOf(run, path);
    const tasks = [...new Set(episodes.map(({ task }) => task))].join("; ");
    const solved = episodes.length - failed;
    const gone = () => video.replaceWith(node("p", { class: "dim" }, "The video is no longer there."));
    const video = node("video", { controls: true, preload: "metadata", muted: true, playsinline: true, onerror: gone });
    if (frozen) video.src = address;
    else whenSeen(video, () => fetchVideo(address).then((source) => { video.src = source; }, gone));
    return node("div", { class: "video" }, video,
      node("div", {}, node("b", {}, path.replace(/^video\//, "")), " ",
        failed ? node("span", { class: "failed" }, `${failed} failed`) : null, failed && solved ? ", " : null,
        solved ? node("span", { class: "solved" }, `${solved} solved`) : null),
      tasks ? node("p", { class: "dim" }, tasks.slice(0, 200)) : null);
  });
  });
}

function renderFaults(run) {
  const { counts, lines: said } = run.faults;
  show("faults-body", run.faults, () => [
    node("p", {}, Object.keys(counts).length
      ? Object.entries(counts).map(([name, count]) => `${name.replaceAll("_", " ")}: ${short(count)}`).join(", ")
      : "No fault was survived."),
    said.length ? node("div", { class: "wide" }, node("table", {}, said.slice(0, 50).map(({ time, level, text }) =>
      node("tr", {}, node("td", {}, time), node("td", { class: `text ${level}` }, level), node("td", { class: "text said" }, text))))) : null,
    said.length > 50 ? node("p", { class: "dim" }, `${said.length - 50} more; run.log has all.`) : null,
  ]);
}

function renderMetrics(run, beside) {
  const names = [...new Set([run, beside].filter(Boolean).flatMap((one) => Object.keys(one.curves)))]
    .filter((name) => !/^eval\/success_once(_low|_high)?$/.test(name)).sort();
  const body = byId("metrics-body");
  for (const name of names) {
    const own = run.curves[name] || [], second = beside && (beside.curves[name] || []);
    const key = `metric:${name}`;
    let chart = charts.get(key);
    const data = lines(beside ? [own, second] : [own]);
    if (!chart) {
      const area = name.split("/")[0];
      let group = body.querySelector(`[data-area="${CSS.escape(area)}"]`);
      if (!group) {
        group = node("div", { "data-area": area }, node("h3", {}, area), node("div", { class: "charts" }));
        const after = [...body.children].find((one) => one.dataset.area > area);
        body.insertBefore(group, after || null);
      }
      const meaning = run.meanings[name] || (beside && beside.meanings[name]) || "a metric of this run's own";
      const reading = node("output");
      const figure = node("figure", { tabindex: 0, role: "group", "data-name": name, "data-meaning": meaning });
      figure.append(node("figcaption", {}, node("button", { type: "button", class: "term" }, name,
        node("span", { class: "tip", role: "tooltip" }, meaning)), reading));
      chart = makeChart(key, group.lastChild, figure, {
        height: 120, data,
        read: (index, plot) => {
          if (index === null || index === undefined) { reading.value = chart ? chart.last : ""; return; }
          const values = [1, 4].filter((i) => plot.data[i]).map((i) => short(plot.data[i][index]));
          reading.value = `step ${plot.data[0][index]}: ${values.join(" | ")}`;
        },
      }, Boolean(beside));
      chart.reading = reading;
    }
    const known_ = own.filter(([, value]) => value !== null);
    const text = JSON.stringify(data);
    if (chart.text === text) continue;
    chart.text = text;
    chart.last = known_.length ? short(known_.at(-1)[1]) : own.length ? "never a number" : "–";
    if (beside && second.length) chart.last += ` | ${short(second.at(-1)[1])}`;
    chart.reading.value = chart.last;
    chart.figure.setAttribute("aria-label", `${name}, last ${chart.last}; arrow keys read values`);
    chart.plot.setData(data);
  }
  filter();
}

function filter() {
  const wanted = byId("filter").value.trim().toLowerCase();
  for (const figure of byId("metrics-body").querySelectorAll("figure")) {
    figure.hidden = !`${figure.dataset.name} ${figure.dataset.meaning}`.toLowerCase().includes(wanted);
  }
  for (const group of byId("metrics-body").children) {
    group.hidden = !group.querySelector("figure:not([hidden])");
  }
}

const written = (value) => (value === undefined ? "not set" : typeof value === "string" ? value : JSON.stringify(value));

function renderSetup(run, beside) {
  const setup = [run, beside].filter(Boolean).map(({ config, plan, name }) => ({ config, plan, name }));
  show("setup-body", setup, () => {
    const [mine, theirs] = setup;
    const parts = [];
    if (theirs) {
      const keys = [...new Set([...Object.keys(mine.config), ...Object.keys(theirs.config)])]
        .filter((key) => !HIDDEN_KEYS.test(key) && written(mine.config[key]) !== written(theirs.config[key])).sort();
      parts.push(keys.length ? node("div", { class: "wide" }, node("table", { id: "differences" },
        row("th", ["differs", mine.name, theirs.name]),
        keys.map((key) => row("td", [node("code", {}, key), written(mine.config[key]), written(theirs.config[key])]))))
        : node("p", { id: "differences" }, "Both runs have the same configuration, but for where they write."));
    }
    if (mine.plan) {
      const others = new Set(theirs ? theirs.plan.split("\n").map((line) => line.trim()) : []);
      const text = mine.plan.split("\n").map((line) => [theirs && line.trim() && !others.has(line.trim())
        ? node("mark", {}, line) : line, "\n"]).flat();
      parts.push(node("details", { open: !theirs }, node("summary", {}, theirs ? "Plan; marked where the other differs" : "Plan"),
        node("pre", {}, text)));
    }
    const all = Object.entries(mine.config).map(([key, value]) => `${key}: ${written(value)}`).join("\n");
    parts.push(node("details", {}, node("summary", {}, "All values"), node("pre", {}, all || "config.yaml is not there.")));
    return parts;
  });
}

// ---- keys and beginning ----------------------------------------------------------------------

function neighbour(by) {
  const ids = listing.runs.map(({ id }) => id);
  const at = ids.indexOf(current);
  const next = ids[Math.min(Math.max(at + by, 0), ids.length - 1)];
  if (next && next !== current) go(next, other === next ? null : other);
}

function reach(id) {
  const part = byId(id);
  if (part.hidden) return;
  part.setAttribute("tabindex", "-1");
  part.focus({ preventScroll: true });
  part.scrollIntoView({ block: "start" });
}

const SECTIONS = { s: "success", l: "limit", v: "videos", f: "faults", m: "metrics", p: "setup" };

document.addEventListener("keydown", (event) => {
  const typing = event.target.matches("input, select, textarea");
  if (event.key === "Escape" && event.target.id === "filter") {
    byId("filter").value = "";
    filter();
    byId("filter").blur();
  }
  if (typing || event.ctrlKey || event.metaKey || event.altKey || byId("help").open) return;
  const live = !frozen;
  const act = {
    "?": () => byId("help").showModal(),
    "/": () => byId("filter").focus(),
    j: () => live && neighbour(1), k: () => live && neighbour(-1),
    r: () => live && go(null), c: () => live && current && byId("other").focus(),
  }[event.key] || (SECTIONS[event.key] && !byId("view").hidden && (() => reach(SECTIONS[event.key])));
  if (act) { event.preventDefault(); act(); }
});

byId("help-button").addEventListener("click", () => byId("help").showModal());
byId("filter").addEventListener("input", filter);
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => {
  for (const { plot } of charts.values()) plot.redraw(false, true);
});

if (frozen) {
  known.set("", { ...frozen, id: "" });
  const run = known.get("");
  byId("view").hidden = false;
  byId("status").replaceChildren(stateNode(run, true));
  renderRun(run, null);
} else {
  byId("to-runs").addEventListener("click", () => go(null));
  byId("run").addEventListener("change", (event) => { event.target.blur(); go(event.target.value, other === event.target.value ? null : other); });
  byId("other").addEventListener("change", (event) => { event.target.blur(); go(current, event.target.value || null); });
  addEventListener("popstate", moved);
  document.addEventListener("visibilitychange", () => { if (!document.hidden) look(); });
  readAddress();
  look().then(() => { if (!current && listing.first && !location.hash) go(listing.first); });
}
})();
