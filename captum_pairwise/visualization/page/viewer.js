'use strict';
// What is shown: one state, drawn anew after every change of it.

const data = JSON.parse(document.getElementById('data').textContent);
const root = document.getElementById('viewer');
const find = (selector) => root.querySelector(selector);
const NAMES = ['query', 'retrieved'];
const N_STRONGEST = 5;
const MINUTE = 1e-12; // rounding

const palette = bytesOf(data.palette);
const panels = data.sides.map((side, k) => {
  const element = find(`.side[data-side="${k}"] .plate`);
  return side.tokens ? new SentencePanel(element, side.tokens) : new PhotoPanel(element, side.width / side.height);
});
const methods = data.methods.map((method) => {
  const counts = method.parts.map(({ n }) => n);
  return { ...method, credit: new Credits(method.credit, counts), error: new Credits(method.error, counts) };
});

// A part is { side, index }. The one under the pointer or the keyboard is `here`; a pin is a part with a number and the turn it was chosen in.
const state = { method: 0, order: 'pairs', sign: 'both', opacity: 0.8, within: false, here: null, hint: null, pins: [], turn: 0 };
const cursor = [null, null]; // of each side the last part that was here
let tapped = null;

const same = (one, other) => one !== null && other !== null && one.side === other.side && one.index === other.index;
const method = () => methods[state.method];
const nameOf = (part) => `${NAMES[part.side]} ${panels[part.side].name(part.index)}`;
const latest = (pins) => pins.reduce((best, pin) => (best && best.turn > pin.turn ? best : pin), null);

// what follows from the state

function order() {
  if (!method().credit.has('between')) return 'parts';
  return method().credit.has('marginal') ? state.order : 'pairs';
}

function withinIsShown(side) {
  return state.within && method().credit.hasWithin(side);
}

/** The part whose pairs a side shows: of the other side, or of its own where that is wanted; null in first order. */
function sourceOf(side) {
  if (order() === 'parts') return null;
  const { here } = state;
  if (here && (here.side !== side || withinIsShown(side))) return here;
  const pins = state.pins.filter((pin) => pin.side !== side || (!here && withinIsShown(side)));
  return latest(pins);
}

function hasSign(value) {
  return state.sign === 'both' || (state.sign === 'positive' ? value > 0 : value < 0);
}

/** The credits that a side shows, 0 where the sign is not wanted; null for the photo as it is. */
function shownOn(side) {
  const source = sourceOf(side);
  if (order() === 'pairs' && !source) return null;
  const values = source ? method().credit.pairs(source, side) : method().credit.parts(side);
  return values && values.map((value) => (hasSign(value) ? value : 0));
}

function errorsOn(side) {
  const source = sourceOf(side);
  return source ? method().error.pairs(source, side) : method().error.parts(side);
}

/** The credit that has the full colour: the largest of all that this view can show. */
function scale() {
  const within = state.within ? ['within_query', 'within_retrieved'] : [];
  return method().credit.largest(order() === 'parts' ? ['marginal'] : ['between', ...within]);
}

function colourOfPin(pin) {
  return data.pinColours[(pin.number - 1) % data.pinColours.length];
}

function partnerOf(pin) {
  const values = method().credit.pairs(pin, 1 - pin.side);
  const [index] = values ? strongest(values.map((value) => (hasSign(value) ? value : 0)), 1) : [];
  return index;
}

function marksOn(side) {
  const marks = [];
  for (const pin of state.pins) {
    const look = { colour: colourOfPin(pin), label: String(pin.number) };
    if (pin.side === side) marks.push({ ...look, index: pin.index, width: same(pin, state.here) ? 4.5 : 3 });
    else if (order() === 'pairs' && partnerOf(pin) !== undefined) marks.push({ ...look, index: partnerOf(pin), dashed: true });
  }
  if (state.hint?.side === side) marks.push({ index: state.hint.index });
  if (state.here?.side === side && !state.pins.some((pin) => same(pin, state.here))) marks.push({ index: state.here.index });
  return marks;
}

// drawing

function draw() {
  const write = writer(scale());
  state.hint = null;
  panels.forEach((panel, side) => {
    const values = shownOn(side);
    panel.paint(values && Array.from(values, (value) => colourOf(value, scale(), state.opacity, palette)));
    panel.mark(marksOn(side), state.here?.side === side);
    drawSource(side);
    drawHere(side);
    drawStrongest(side, values, write);
  });
  drawPins(write);
  drawLegend(write);
  drawControls();
}

function drawMarks() {
  panels.forEach((panel, side) => panel.mark(marksOn(side), state.here?.side === side));
}

function drawSource(side) {
  const source = sourceOf(side);
  const text = order() === 'parts' ? 'credit of each part' : source ? `pairs with ${nameOf(source)}` : '';
  find(`.side[data-side="${side}"] .source`).textContent = text;
  root.dataset[`source${side}`] = source ? `${source.side}:${source.index}` : '';
}

function drawHere(side) {
  const list = find(`.reading[data-side="${side}"] .here`), { here } = state;
  list.replaceChildren();
  if (here?.side !== side) return;
  const name = panels[side].name(here.index);
  facts(here).forEach(([what, value], k) => list.append(pair(k ? what : `${capital(name)}, ${what}`, value)));
}

/** What is known of a part alone: its credit, its pairs in all, and its pairs with the pins of the other side. */
function facts(part) {
  const { credit, error } = method(), known = [], pairs = credit.pairs(part, 1 - part.side);
  if (credit.has('marginal')) {
    const write = writer(credit.largest(['marginal']));
    known.push(['credit', withError(credit.parts(part.side)[part.index], error.parts(part.side)?.[part.index], write)]);
  }
  if (!pairs) return known;
  const write = writer(credit.largest(['between']));
  known.push([`sum of its pairs with the ${NAMES[1 - part.side]}`, write(pairs.reduce((sum, value) => sum + value, 0))]);
  for (const pin of state.pins.filter(({ side }) => side !== part.side)) {
    known.push([`pair with pin ${pin.number}`, withError(pairs[pin.index], error.pairs(part, 1 - part.side)?.[pin.index], write)]);
  }
  return known;
}

function drawStrongest(side, values, write) {
  const list = find(`.reading[data-side="${side}"] .strongest`), errors = errorsOn(side);
  list.replaceChildren();
  if (!values) return;
  for (const index of strongest(values, N_STRONGEST)) list.append(entry({ side, index }, values[index], errors?.[index], write));
  if (!list.children.length) list.append(element('li', 'none', 'none of this sign'));
}

function entry(part, value, error, write) {
  const item = element('li', '', ''), bar = element('span', 'bar', '');
  bar.append(element('span', 'length', ''));
  bar.firstChild.style.width = `${(100 * Math.abs(value)) / scale()}%`;
  bar.firstChild.style.backgroundColor = `rgb(${colourOf(Math.sign(value) * 0.75, 1, 1, palette).slice(0, 3).join(' ')})`;
  item.append(element('span', 'name', panels[part.side].name(part.index)), bar, element('span', 'value', withError(value, error, write)));
  item.addEventListener('pointerenter', () => hint(part));
  item.addEventListener('pointerleave', () => hint(null));
  return item;
}

function drawPins(write) {
  const list = find('.pins ul'), buttons = () => Array.from(list.querySelectorAll('button'));
  const focused = buttons().indexOf(document.activeElement);
  list.replaceChildren(...state.pins.map((pin) => chip(pin, write)));
  if (focused >= 0) buttons()[Math.min(focused, buttons().length - 1)]?.focus();
  find('.pins .clear').hidden = !state.pins.length;
}

function chip(pin, write) {
  const item = element('li', '', ''), number = element('span', 'number', pin.number), partner = partnerOf(pin);
  number.style.backgroundColor = colourOfPin(pin);
  number.style.color = inkOn(channels(colourOfPin(pin)));
  const show = button('show', '', () => choose(pin));
  show.append(number, element('span', '', nameOf(pin)));
  if (order() === 'pairs' && partner !== undefined) {
    const value = method().credit.pairs(pin, 1 - pin.side)[partner];
    show.append(element('span', 'partner', `→ ${panels[1 - pin.side].name(partner)}`), element('span', 'value', write(value)));
  }
  const remove = button('remove', '×', () => togglePin(pin));
  remove.setAttribute('aria-label', `Unpin ${pin.number}, ${nameOf(pin)}`);
  item.append(show, remove);
  return item;
}

function drawLegend(write) {
  const canvas = find('.legend canvas'), image = new ImageData(256, 1), [least, , most] = find('.legend .ticks').children;
  for (let k = 0; k < 256; k++) image.data.set([...over(colourOf(k / 127.5 - 1, 1, state.opacity, palette), [255, 255, 255]), 255], 4 * k);
  canvas.getContext('2d').putImageData(image, 0, 0);
  least.textContent = write(-scale());
  most.textContent = write(scale());
  root.dataset.scale = scale();
  const what = order() === 'parts' ? 'credit of a part' : state.within ? 'pair, within or between the images' : 'pair between the images';
  find('.legend figcaption').textContent = `full colour: the largest ${what}`;
  find('.scale-rule').textContent =
    `Both images share one scale. Its ends are the largest absolute ${what} by this method, whichever part is shown, so that colours can be `
    + 'compared from part to part; the choice of a sign does not change it.';
}

function drawControls() {
  const { credit } = method();
  const choices = { pairs: credit.has('between'), parts: credit.has('marginal') };
  for (const input of root.querySelectorAll('[name=order]')) {
    input.checked = input.value === order();
    input.disabled = !choices[input.value];
  }
  find('.within').hidden = !(order() === 'pairs' && (credit.hasWithin(0) || credit.hasWithin(1)));
}

function drawFacts() {
  const { full, empty, gap } = method(), known = (value) => value !== null && value !== undefined, list = find('.facts');
  list.replaceChildren();
  if (known(full)) list.append(pair('similarity', full.toFixed(4).replace('-', '−')));
  if (known(empty)) list.append(pair('of the baselines', empty.toFixed(4).replace('-', '−')));
  if (known(gap)) list.append(pair('completeness gap', writer(0.01)(Math.abs(gap) < MINUTE ? 0 : gap)));
}

// elements

function element(tag, className, text) {
  const made = document.createElement(tag);
  made.className = className;
  made.textContent = text;
  return made;
}

function pair(what, value) {
  const group = element('div', '', '');
  group.append(element('dt', '', what), element('dd', '', value));
  return group;
}

function button(className, text, act) {
  const made = element('button', className, text);
  made.type = 'button';
  made.addEventListener('click', act);
  return made;
}

function capital(text) {
  return text[0].toUpperCase() + text.slice(1);
}

function speak() {
  const { here } = state;
  if (!here) return;
  const known = facts(here).map(([what, value]) => `${what} ${value}`);
  const other = 1 - here.side, values = order() === 'pairs' ? shownOn(other) : null, write = writer(scale());
  const partners = values ? strongest(values, 3).map((index) => `${panels[other].name(index)} ${write(values[index])}`) : [];
  const pinned = state.pins.find((pin) => same(pin, here));
  const sentences = [`${capital(nameOf(here))}${pinned ? `, pin ${pinned.number}` : ''}`, known.join(', ')];
  if (partners.length) sentences.push(`strongest in the ${NAMES[other]}: ${partners.join(', ')}`);
  find('.spoken').textContent = sentences.filter(Boolean).join('; ');
}

// changes of the state

function goTo(part) {
  if (part === null ? state.here === null : same(part, state.here)) return;
  state.here = part;
  if (part) cursor[part.side] = part.index;
  draw();
  speak();
}

function leave() {
  if (state.pins.length) goTo(null); // the pins stay; without any the last part does, for a look at the controls
}

function hint(part) {
  state.hint = part;
  drawMarks();
}

function togglePin(part) {
  const others = state.pins.filter((pin) => !same(pin, part));
  if (others.length === state.pins.length) {
    const taken = new Set(others.map(({ number }) => number));
    let number = 1;
    while (taken.has(number)) number += 1;
    others.push({ side: part.side, index: part.index, number, turn: ++state.turn });
  }
  state.pins = others.sort((a, b) => a.number - b.number);
  draw();
  speak();
}

function choose(pin) {
  pin.turn = ++state.turn;
  state.here = null;
  goTo({ side: pin.side, index: pin.index });
}

function clear() {
  Object.assign(state, { here: null, hint: null, pins: [] });
  tapped = null;
  draw();
  find('.spoken').textContent = 'Cleared';
}

/** Take another method; what was pinned stays at its place, whoever owns it now. */
function setMethod(number) {
  const moved = state.method === number ? (part) => part : place(number);
  const pins = state.pins.map((pin) => ({ ...pin, ...moved(pin) })).filter(({ index }) => index !== NOBODY);
  state.here = state.here && moved(state.here);
  state.pins = pins.filter((pin, k) => pins.findIndex((other) => same(other, pin)) === k);
  if (state.here?.index === NOBODY) state.here = null;
  state.method = number;
  draw();
  drawFacts();
  speak();
}

function place(number) {
  const middles = panels.map((panel) => panel.middles);
  panels.forEach((panel, side) => panel.place(methods[number].parts[side]));
  cursor.fill(null);
  return ({ side, index }) => {
    const middle = middles[side]?.[index];
    const { raster } = panels[side];
    if (!raster) return { side, index };
    return { side, index: middle ? raster.at(middle.x, middle.y) : NOBODY };
  };
}

// events

function listenToPanel(panel, side) {
  const plate = panel.element;
  const partAt = (event) => {
    const index = panel.partAt(event);
    return index === NOBODY ? null : { side, index };
  };
  plate.addEventListener('pointermove', (event) => partAt(event) && goTo(partAt(event)));
  plate.addEventListener('pointerleave', (event) => event.pointerType === 'mouse' && leave());
  plate.addEventListener('pointerdown', (event) => (plate.dataset.pointer = event.pointerType));
  plate.addEventListener('click', (event) => {
    const part = partAt(event), isFirstTap = plate.dataset.pointer !== 'mouse' && !same(part, tapped);
    if (!part) return;
    tapped = part;
    goTo(part);
    if (!isFirstTap) togglePin(part);
  });
  plate.addEventListener('focus', () => plate.matches(':focus-visible') && goTo(entrance(side)));
  plate.addEventListener('keydown', (event) => handleKey(event, panel, side));
}

/** Where the keyboard enters a side: where it was before, else the strongest part. */
function entrance(side) {
  if (state.here?.side === side) return state.here;
  if (cursor[side] !== null) return { side, index: cursor[side] };
  return strongestPart(side) ?? { side, index: 0 };
}

function handleKey(event, panel, side) {
  const here = entrance(side);
  if (event.key in DIRECTIONS) goTo({ side, index: panel.step(here.index, event.key) });
  else if (event.key === 'Enter' || event.key === ' ') {
    goTo(here);
    togglePin(here);
  } else return;
  event.preventDefault();
}

function strongestPart(side) {
  const { credit } = method(), n = credit.counts[side];
  const [index] = credit.has('between')
    ? strongest(Float32Array.from({ length: n }, (_, part) => Math.max(...credit.pairs({ side, index: part }, 1 - side))), 1)
    : strongest(credit.parts(side), 1);
  return index === undefined ? null : { side, index };
}

function listenToControls() {
  const form = find('.controls'), select = form.elements.method;
  methods.forEach(({ name }, number) => select.add(new Option(name, number)));
  find('.method').hidden = methods.length < 2;
  form.addEventListener('submit', (event) => event.preventDefault());
  form.addEventListener('input', (event) => {
    const { name, value, checked } = event.target;
    if (name === 'method') return setMethod(Number(value));
    state[name] = { opacity: value / 100, within: checked }[name] ?? value;
    draw();
    speak();
  });
  find('.pins .clear').addEventListener('click', clear);
  document.addEventListener('keydown', (event) => event.key === 'Escape' && clear());
  matchMedia('(prefers-color-scheme: dark)').addEventListener('change', draw);
}

/** In a notebook the page is in a frame, which becomes as tall as the page. */
function fitFrame() {
  try {
    if (window.frameElement) window.frameElement.style.height = `${root.offsetHeight + 2}px`;
  } catch {} // a frame of another origin keeps its height
}

function start() {
  panels.forEach((panel, side) => panel.place(method().parts[side]));
  panels.forEach(listenToPanel);
  listenToControls();
  drawFacts();
  state.here = strongestPart(0); // so that the page opens with an example
  draw();
  new ResizeObserver(() => {
    draw();
    fitFrame();
  }).observe(root);
}

start();
