'use strict';
// Events of the pointer, touch, keys and controls.

const WORTH_A_LOOK = 0.1; // as in the figure of a pair
let tapped = null;

// changes of the state

function goTo(part) {
  if (part === null ? state.here === null : same(part, state.here)) return;
  state.here = part;
  if (part) cursor[part.side] = part.index;
  draw();
  speak();
}

function leave() {
  if (state.pins.length) goTo(null); // the pins stay; without pins the last part stays visible
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

/** Show another method. Pins stay at their places, with the parts of the new method. */
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

/** Part where the keyboard enters a side: the last part, or else the strongest part. */
function entrance(side) {
  if (state.here?.side === side) return state.here;
  if (cursor[side] !== null) return { side, index: cursor[side] };
  return strongestPart(side) ?? { side, index: Math.max(0, places(side).findIndex(Boolean)) };
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

/** Among parts with a place, the part with the strongest partner, or whose pairs lower the similarity most if these are shown; without pairs, the part with the largest value. */
function strongestPart(side) {
  const { credit } = method(), lowered = (sum, value) => sum - Math.min(value, 0);
  const strength = places(side).map((isSomewhere, index) => {
    if (!isSomewhere) return -Infinity;
    if (!credit.has('between')) return Math.abs(credit.parts(side)[index]);
    const pairs = credit.pairs({ side, index }, 1 - side);
    return state.sign === 'negative' ? pairs.reduce(lowered, 0) : Math.max(...pairs);
  });
  const index = strength.indexOf(Math.max(...strength));
  return strength.some((value) => isFinite(value) && value) ? { side, index } : null;
}

/** For each part of a side, true if it has a place; all words have one. */
function places(side) {
  return panels[side].middles?.map(Boolean) ?? Array(method().credit.counts[side]).fill(true);
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
}

/** If the two are not similar, show the parts that lower the similarity first, if they are more than noise beside those that raise it. */
function chooseSign() {
  const { blocks } = method().credit, values = Array.from(blocks.between ?? blocks.given_other);
  const sum = (sign) => values.reduce((total, value) => total + Math.max(sign * value, 0), 0);
  if (data.isSimilar || sum(-1) <= WORTH_A_LOOK * sum(1)) return;
  state.sign = 'negative';
  find('[name=sign][value=negative]').checked = true;
}

function start() {
  root.classList.toggle('framed', window !== window.parent);
  panels.forEach((panel, side) => panel.place(method().parts[side]));
  panels.forEach(listenToPanel);
  listenToControls();
  drawFacts();
  chooseSign();
  state.here = strongestPart(0); // the page opens with an example
  draw();
  new ResizeObserver(() => {
    draw();
    fitFrame(root);
  }).observe(root);
}

start();
