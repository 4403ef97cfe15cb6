'use strict';
// The page of a ranked list: the query, and every result with its map, or with its pairs with one part of the query.

const data = JSON.parse(document.getElementById('data').textContent);
const root = document.getElementById('ranking');
const find = (selector) => root.querySelector(selector);
const OPACITY = 0.8;

const makePanel = (plate, side) => (side.tokens ? new SentencePanel(plate, side.tokens) : new PhotoPanel(plate, side.width / side.height));
const query = makePanel(find('.query .plate'), data.query);
const results = Array.from(root.querySelectorAll('.result'), (card, k) => {
  const { side, method, palette } = data.results[k], counts = method.parts.map(({ n }) => n);
  const credit = new Credits(method.credit, counts), error = new Credits(method.error, counts);
  return { card, credit, error, parts: method.parts, palette: bytesOf(palette), panel: makePanel(card.querySelector('.plate'), side) };
});

// `here` is the part of the query under the pointer or the keyboard, `pinned` the part that was clicked; `result` is the number of the chosen result.
const state = { here: null, pinned: null, result: 0 };
const hasPairs = results.every(({ credit }) => credit.has('between'));
const hasMaps = results.every(({ credit }) => credit.has('given_other'));

/** The part of the query whose pairs the results show; null for the maps. */
function source() {
  if (!hasPairs) return null;
  const index = state.here ?? state.pinned;
  return index === null ? null : { side: 0, index };
}

/** Values of the parts of a result, and their errors: the pairs with the chosen part of the query, or the map. */
function valuesOf({ credit, error }) {
  const part = source();
  return part ? [credit.pairs(part, 1), error.pairs(part, 1)] : [credit.parts(1), error.parts(1)];
}

/** The value with the full colour: the largest that all results show now, and the query too if it has a map. */
function scale() {
  const shown = results.map((result) => valuesOf(result)[0]).filter(Boolean);
  if (!source() && hasMaps) shown.push(results[state.result].credit.parts(0));
  return Math.max(0, ...shown.flatMap((values) => extremesOf(values).map(Math.abs)));
}

function draw() {
  const part = source(), most = scale();
  const colours = (values, palette) => values && Array.from(values, (value) => colourOf(value, most, OPACITY, palette));
  const { credit, palette, card } = results[state.result];
  query.paint(part ? null : colours(credit.parts(0), palette));
  query.mark(part ? [{ index: part.index, width: state.pinned === part.index ? 3.5 : 2 }] : [], Boolean(part));
  results.forEach((result) => drawResult(result, colours, most));
  root.querySelectorAll('.result').forEach((item) => item.classList.toggle('chosen', !part && results.length > 1 && item === card));
  drawWords(part, most);
}

function drawResult(result, colours, most) {
  const [values, errors] = valuesOf(result), [best] = values ? strongest(values, 1) : [];
  result.panel.paint(colours(values, result.palette));
  result.panel.mark(source() && best !== undefined ? [{ index: best }] : [], false);
  const text = best === undefined ? '' : `strongest: ${result.panel.name(best)}, ${withError(values[best], errors?.[best], most)}`;
  result.card.querySelector('.best').textContent = text;
}

function drawWords(part, most) {
  const write = writer(most), [least, , largest] = find('.ticks').children;
  find('.source').textContent = part ? query.name(part.index) : hasMaps ? `what each part adds for result ${state.result + 1}` : '';
  find('.hint').textContent = hasPairs ? 'Click a part of the query to see where it is in every result. Arrow keys move, Enter holds, Escape shows the maps.' : '';
  find('.clear').hidden = state.pinned === null;
  drawScale(find('.legend canvas'), OPACITY, results[state.result].palette);
  [least.textContent, largest.textContent] = [write(-most), write(most)];
  find('.legend figcaption').textContent = `similarity; full colour: the largest ${part ? 'pair with this part, in all results' : 'value of a part, in all results'}`;
  find('.relation').textContent = part
    ? 'Colours: the pairs of this part of the query with the parts of each result. All results have one scale.'
    : 'Colours: what each part adds to the similarity while the other side of the pair is whole. Red raises it, blue lowers it. All results have one scale.';
}

function goTo(index) {
  if (index === state.here) return;
  state.here = index;
  draw();
  if (index === null) return;
  const parts = results.map((result, k) => `result ${k + 1} ${result.card.querySelector('.best').textContent}`);
  find('.spoken').textContent = `Query ${query.name(index)}; ${parts.join('; ')}`;
}

function pin(index) {
  state.pinned = state.pinned === index ? null : index;
  state.here = null;
  draw();
}

function clear() {
  Object.assign(state, { here: null, pinned: null });
  draw();
}

/** Part where the keyboard enters the query: the last part, or the one that adds most. */
function entrance() {
  const values = results[state.result].credit.parts(0) ?? results[state.result].credit.pairs({ side: 1, index: 0 }, 0);
  return state.here ?? state.pinned ?? strongest(values, 1)[0] ?? 0;
}

function handleKey(event) {
  if (event.key in DIRECTIONS) goTo(query.step(entrance(), event.key));
  else if (event.key === 'Enter' || event.key === ' ') pin(entrance());
  else return;
  event.preventDefault();
}

function listenToQuery() {
  const plate = query.element;
  const partAt = (event) => {
    const index = query.partAt(event);
    return index === NOBODY ? null : index;
  };
  plate.addEventListener('pointermove', (event) => event.pointerType === 'mouse' && goTo(partAt(event)));
  plate.addEventListener('pointerleave', () => goTo(null));
  plate.addEventListener('click', (event) => partAt(event) !== null && pin(partAt(event)));
  plate.addEventListener('focus', () => plate.matches(':focus-visible') && goTo(entrance()));
  plate.addEventListener('blur', () => goTo(null));
  plate.addEventListener('keydown', handleKey);
}

function start() {
  root.classList.toggle('framed', window !== window.parent);
  query.place(results[0].parts[0]);
  results.forEach((result, k) => {
    result.panel.place(result.parts[1]);
    result.card.querySelector('.choose').addEventListener('click', () => {
      state.result = k;
      clear();
    });
  });
  if (hasPairs) listenToQuery();
  find('.clear').addEventListener('click', clear);
  document.addEventListener('keydown', (event) => event.key === 'Escape' && clear());
  new ResizeObserver(() => {
    draw();
    fitFrame(root);
  }).observe(root);
}

start();
