#include "tools/dogs_vs_cats/watch_page.h"

#include <fmt/format.h>

#include <string_view>

#include "tools/dogs_vs_cats/html.h"

namespace weft::cli {
namespace {

// The colours are those of the report's charts.
constexpr std::string_view kBody = R"html(
<style>
#state { font-weight: 600; margin: .25rem 0; }
#state.failed, #state.lost { color: #b3261e; }
progress { width: 100%; height: .6rem; accent-color: #0072b2; }
.charts h2 { border: 0; margin: 1rem 0 0; padding: 0; font-size: 1rem; }
.charts p { margin: 0; font-size: .85rem; color: var(--soft); min-height: 1.5em; }
.charts p i { display: inline-block; width: 1.2em; height: .25em; vertical-align: middle; margin: 0 .3em 0 0; }
.charts p span { margin-right: 1em; }
.charts svg { touch-action: pan-y; }
.charts text { font: 12px system-ui, sans-serif; fill: var(--soft); }
.charts line { stroke: var(--line); }
.charts line.here { stroke: var(--soft); stroke-dasharray: 3 3; }
</style>
<h1 id="title">Training</h1>
<p id="run" class="lead"></p>
<p id="state" role="status">Asking the program</p>
<progress id="progress" max="1" value="0"></progress>
<div class="cards">
<div><b id="epoch">-</b><span>epoch</span></div>
<div><b id="loss">-</b><span>training loss (nats), smoothed</span></div>
<div><b id="accuracy">-</b><span>validation accuracy</span></div>
<div><b id="speed">-</b><span>images/s</span></div>
<div><b id="waits">-</b><span>of the time waiting for data</span></div>
<div><b id="left">-</b><span id="left-of">left</span></div>
</div>
<ul id="notes"></ul>
<p class="lead">Point at a curve, or tap it, for its values.</p>
<div id="charts" class="charts"></div>
<noscript><p>The curves are drawn by a script in this page; allow it to run.</p></noscript>
)html";

constexpr std::string_view kScript = R"js(
(function () {
'use strict';
const byId = (id) => document.getElementById(id);
const COLUMNS = ['step', 'epoch', 'loss', 'lr', 'pictures', 'seconds', 'data_seconds'];
let run = null, later = 1000;

function fresh(id) {
  const run = {id: id, steps: {}, epochs: [], smooth: [], speed: [], waits: [], means: null};
  for (const name of COLUMNS) run.steps[name] = [];
  return run;
}

// Smoothed curves go on from where they are: each point is seen once.
function take(answer) {
  if (!run) run = fresh(answer.id);
  const steps = run.steps, from = steps.step.length;
  for (const name of COLUMNS) for (const value of answer.steps[name]) steps[name].push(value);
  for (let i = from; i < steps.step.length; ++i) {
    const before = i > 0 ? run.smooth[i - 1] : steps.loss[i];
    run.smooth.push(before + SMOOTHING * (steps.loss[i] - before));
    const timed = {pictures: steps.pictures[i], seconds: steps.seconds[i], data: steps.data_seconds[i]};
    if (!(timed.seconds > 0)) {  // done before the training went on, when nobody looked at the clock
      run.speed.push(null);
      run.waits.push(null);
      continue;
    }
    if (!run.means) run.means = Object.assign({}, timed);
    for (const name in timed) run.means[name] += SMOOTHING * (timed[name] - run.means[name]);
    run.speed.push(run.means.pictures / run.means.seconds);
    run.waits.push(100 * run.means.data / run.means.seconds);
  }
  for (const row of answer.epochs) run.epochs.push(row);
  run.answer = answer;
}

const number = (value) => value === null || value === undefined || !isFinite(value) ? '-' : String(+value.toPrecision(4));
const last = (list) => list.length > 0 ? list[list.length - 1] : null;

function sentence(now) {
  if (now.text) return now.text;
  if (now.state === 'features') return 'Computing features: ' + now.features + ' of ' + now.features_total + ' pictures';
  if (now.state === 'validating') return 'Validating epoch ' + (now.epoch + 1);
  if (now.state === 'training')
    return 'Training: step ' + (now.step % now.steps_per_epoch + 1) + ' of ' + now.steps_per_epoch + ' in epoch ' + (now.epoch + 1);
  return 'Getting ready';
}

function say() {
  const answer = run.answer, now = answer.now, row = last(run.epochs);
  const share = now.state === 'features' ? now.features / Math.max(now.features_total, 1)
    : now.state === 'finished' ? 1 : now.total_steps > 0 ? (now.step + 1) / now.total_steps : 0;
  if (answer.title) byId('title').textContent = answer.title;
  byId('run').textContent = answer.run;
  byId('state').textContent = sentence(now);
  byId('state').className = now.state;
  byId('progress').value = share;
  byId('epoch').textContent = run.steps.step.length > 0 ? String(last(run.steps.epoch) + 1) : '-';
  byId('loss').textContent = number(last(run.smooth));
  byId('accuracy').textContent = row ? number(100 * row.accuracy) + '%' : '-';
  byId('speed').textContent = number(last(run.speed));
  byId('waits').textContent = last(run.waits) === null ? '-' : Math.round(last(run.waits)) + '%';
  byId('left').textContent = now.left || '-';
  byId('left-of').textContent = answer.stages > 1 ? 'left in this stage' : 'left';
  byId('notes').replaceChildren(...answer.notes.map((text) => {
    const item = document.createElement('li');
    item.textContent = text;
    return item;
  }));
  document.title = Math.floor(100 * share) + '% ' + (answer.title || 'training');
}

const byStep = (name, y, color, more) => Object.assign({name: name, x: () => run.steps.step, y: y, color: color}, more);
const byEpoch = (name, column, factor, color) => ({name: name, color: color, dots: true,
  x: () => run.epochs.map((row) => row.epoch + 1),
  y: () => run.epochs.map((row) => row[column] === null ? null : factor * row[column])});
const CHARTS = [
  {title: 'Training loss', x: 'step', y: 'loss (nats)', series: [
    byStep('each step', () => run.steps.loss, '#9fc9e3', {noisy: true}), byStep('smoothed', () => run.smooth, '#0072b2')]},
  {title: 'Loss by epoch', x: 'epoch', y: 'loss (nats)', series: [
    byEpoch('training', 'train_loss', 1, '#0072b2'), byEpoch('validation', 'valid_loss', 1, '#d55e00')]},
  {title: 'Validation accuracy and macro F1', x: 'epoch', y: '%', series: [
    byEpoch('accuracy', 'accuracy', 100, '#009e73'), byEpoch('macro F1', 'macro_f1', 100, '#e69f00')]},
  {title: 'Learning rate', x: 'step', y: 'learning rate', series: [byStep('rate', () => run.steps.lr, '#cc79a7')]},
  {title: 'Speed', x: 'step', y: 'images/s', series: [byStep('images/s', () => run.speed, '#0072b2')]},
  {title: 'Waiting for data', x: 'step', y: 'share of the time (%)', floor: 0, series: [
    byStep('waiting (%)', () => run.waits, '#d55e00')]},
];

function element(name, attributes, text) {
  const made = document.createElementNS('http://www.w3.org/2000/svg', name);
  for (const key in attributes) made.setAttribute(key, attributes[key]);
  if (text !== undefined) made.textContent = text;
  return made;
}

// Of more points than the chart has columns, the lowest and the highest of each column: the curve looks the same.
function thinned(x, y, columns) {
  const every = Math.ceil(x.length / columns), points = [];
  for (let from = 0; from < x.length; from += every) {
    let low = from, high = from;
    for (let i = from; i < Math.min(from + every, x.length); ++i) {
      if (y[i] === null) continue;
      if (y[low] === null || y[i] < y[low]) low = i;
      if (y[high] === null || y[i] > y[high]) high = i;
    }
    for (const i of low === high ? [low] : [Math.min(low, high), Math.max(low, high)]) points.push([x[i], y[i]]);
  }
  return points;
}

// A noisy curve's rare peaks would press everything else flat: they are cut off.
function range(chart, points) {
  let low = Infinity, high = -Infinity;
  chart.series.forEach((series, i) => {
    const values = points[i].map((point) => point[1]).filter((value) => value !== null).sort((a, b) => a - b);
    if (values.length === 0) return;
    const cut = series.noisy ? Math.floor(values.length / 50) : 0;
    low = Math.min(low, values[cut]);
    high = Math.max(high, values[values.length - 1 - cut]);
  });
  if (chart.floor !== undefined) low = Math.min(low, chart.floor);
  const some = high > low ? 0.05 * (high - low) : Math.abs(high) * 0.1 || 1;
  return [chart.floor === undefined ? low - some : low, high + some];
}

function ticks(low, high, about, whole) {
  const rough = (high - low) / about, power = Math.pow(10, Math.floor(Math.log10(rough)));
  let step = power * [1, 2, 5, 10].find((factor) => factor * power >= rough);
  if (whole) step = Math.max(1, Math.round(step));
  const values = [];
  for (let i = Math.ceil(low / step); i * step <= high; ++i) values.push(+(i * step).toPrecision(12));
  return values;
}

function nearest(list, value) {
  let low = 0, high = list.length - 1;
  while (low < high) {
    const middle = (low + high) >> 1;
    if (list[middle] < value) low = middle + 1; else high = middle;
  }
  return low > 0 && value - list[low - 1] < list[low] - value ? low - 1 : low;
}

function draw(chart) {
  const width = Math.max(chart.box.clientWidth, 240), height = 240, left = 64, right = 10, top = 8, bottom = 40;
  const xs = chart.series[0].x();
  const points = chart.series.map((series) => thinned(series.x(), series.y(), width - left - right));
  const svg = element('svg', {viewBox: '0 0 ' + width + ' ' + height, role: 'img', 'aria-label': chart.title + ' by ' + chart.x});
  if (!points.some((list) => list.some((point) => point[1] !== null))) {
    svg.append(element('text', {x: width / 2, y: height / 2, 'text-anchor': 'middle'}, 'nothing yet'));
    chart.svg.replaceWith(svg);
    chart.svg = svg;
    return;
  }
  const first = xs[0], end = Math.max(last(xs), first + 1), [low, high] = range(chart, points);
  const toX = (x) => left + (x - first) / (end - first) * (width - left - right);
  const toY = (y) => height - bottom - (y - low) / (high - low) * (height - bottom - top);
  for (const tick of ticks(low, high, 5, false)) {
    svg.append(element('line', {x1: left, x2: width - right, y1: toY(tick), y2: toY(tick)}));
    svg.append(element('text', {x: left - 5, y: toY(tick) + 4, 'text-anchor': 'end'}, number(tick)));
  }
  for (const tick of ticks(first, end, Math.max(2, Math.floor(width / 110)), true))
    svg.append(element('text', {x: toX(tick), y: height - bottom + 16, 'text-anchor': 'middle'}, number(tick)));
  svg.append(element('text', {x: (left + width - right) / 2, y: height - 6, 'text-anchor': 'middle'}, chart.x));
  svg.append(element('text', {transform: 'translate(11 ' + (top + height - bottom) / 2 + ') rotate(-90)', 'text-anchor': 'middle'}, chart.y));
  const clip = 'clip-' + CHARTS.indexOf(chart);
  svg.append(element('clipPath', {id: clip}));
  svg.lastChild.append(element('rect', {x: left - 4, y: top - 4, width: width - left - right + 8, height: height - bottom - top + 8}));
  chart.series.forEach((series, i) => {
    let path = '', open = false;
    for (const [x, y] of points[i]) {
      if (y !== null) path += (open ? 'L' : 'M') + toX(x).toFixed(1) + ' ' + toY(y).toFixed(1);
      open = y !== null;
    }
    const shown = {d: path, fill: 'none', stroke: series.color, 'stroke-width': series.noisy ? 1 : 2, 'clip-path': 'url(#' + clip + ')'};
    svg.append(element('path', shown));
    if (series.dots || points[i].length === 1)
      for (const [x, y] of points[i]) if (y !== null) svg.append(element('circle', {cx: toX(x), cy: toY(y), r: 3, fill: series.color}));
  });
  const here = element('line', {class: 'here', y1: top, y2: height - bottom, visibility: 'hidden'});
  svg.append(here);
  function show(event) {
    const box = svg.getBoundingClientRect();
    const at = nearest(xs, first + ((event.clientX - box.left) * width / box.width - left) / (width - left - right) * (end - first));
    here.setAttribute('x1', toX(xs[at]));
    here.setAttribute('x2', toX(xs[at]));
    here.setAttribute('visibility', 'visible');
    chart.pointed = event;
    gnuplot_svg.showHypertext(event, chart.x + ' ' + xs[at] + ': ' +
      chart.series.map((series) => series.name + ' ' + number(series.y()[at])).join(', '));
  }
  svg.addEventListener('pointermove', show);
  svg.addEventListener('pointerdown', show);
  svg.addEventListener('pointerleave', () => {
    chart.pointed = null;
    here.setAttribute('visibility', 'hidden');
    gnuplot_svg.hideHypertext();
  });
  chart.svg.replaceWith(svg);
  chart.svg = svg;
  if (chart.pointed) show(chart.pointed);
}

function redraw() {
  if (run && !document.hidden) CHARTS.forEach(draw);
}

for (const chart of CHARTS) {
  chart.box = document.createElement('div');
  const heading = document.createElement('h2'), legend = document.createElement('p');
  heading.textContent = chart.title;
  if (chart.series.length > 1)
    for (const series of chart.series) {
      const entry = document.createElement('span'), mark = document.createElement('i');
      mark.style.background = series.color;
      entry.append(mark, series.name);
      legend.append(entry);
    }
  chart.svg = element('svg', {});
  chart.box.append(heading, legend, chart.svg);
  byId('charts').append(chart.box);
}

// A program that is gone is asked again now and then: it may go on, with --resume, at the same port.
async function ask() {
  later = 1000;
  try {
    const had = run ? '?from=' + run.steps.step.length + '&epoch=' + run.epochs.length : '';
    const response = await fetch('points' + had, {cache: 'no-store'});
    if (!response.ok) throw new Error(response.statusText);
    const answer = await response.json();
    if (run && run.id !== answer.id) {  // another program answers now: from the beginning
      run = null;
      return ask();
    }
    take(answer);
    if (answer.more) later = 0;
    else if (['finished', 'stopped', 'failed'].includes(answer.now.state)) later = -1;
    if (!answer.more) { say(); redraw(); }
  } catch (problem) {
    later = 5000;
    byId('state').textContent = 'No answer from the program: it has ended or was stopped. This is what it had said.';
    byId('state').className = 'lost';
  }
  if (later >= 0) setTimeout(ask, later);
}
window.addEventListener('resize', redraw);
document.addEventListener('visibilitychange', redraw);
ask();
})();
)js";

}  // namespace

std::string watch_page() {
  std::string body(kBody);
  body += fmt::format("<script>\nconst SMOOTHING = {};\n", html::kSmoothing);
  return html::page("training", body.append(kScript).append("</script>\n"));
}

}  // namespace weft::cli
