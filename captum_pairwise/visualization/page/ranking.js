'use strict';
// The page of a ranked list: the query, and every result with its map, or with its pairs with one part of the query.

const data = JSON.parse(document.getElementById('data').textContent);
const root = document.getElementById('ranking');
const find = (selector) => root.querySelector(selector);
const OPACITY = 0.8;
const PAIRS_TOLD = 'Colours: the pairs of this part of the query with the parts of each result. All results have one scale.';
const MAPS_TOLD = 'Colours: what each part adds to the similarity while the other side of the pair is whole. Red raises it, blue lowers it. All results have one scale.';
const largest = (values) => Math.max(0, ...extremesOf(values).map(Math.abs));

const makePanel = (plate, side) => (side.tokens ? new SentencePanel(plate, side.tokens) : new PhotoPanel(plate, side.width / side.height));
const query = makePanel(find('.query .plate'), data.query);
const results = Array.from(root.querySelectorAll('.result'), (card, k) => {
  const { side, method, palette } = data.results[k], counts = method.parts.map(({ n }) => n);
  const credit = new Credits(method.credit, counts), error = new Credits(method.error, counts);
  return { card, credit, error, parts: method.parts, palette: bytesOf(palette), panel: makePanel(card.querySelector('.plate'), side) };
});

// `here` is the part of the query under the pointer or the keyboard, `pinned` the part that was clicked; `result` is the number of the chosen result.
// `objective`, if there is one, is the map of the query that the page shows first; `result` is null while it does.
const objective = data.objective && { ...data.objective, values: floatsOf(data.objective.values), palette: bytesOf(data.objective.palette) };
const state = { here: null, pinned: null, result: objective ? null : 0 };
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
  if (!source() && hasMaps && state.result !== null) shown.push(results[state.result].credit.parts(0));
  return Math.max(0, ...shown.flatMap((values) => extremesOf(values).map(Math.abs)));
}

function draw() {
  const part = source(), most = scale();
  const colours = (values, palette, full = most) => values && Array.from(values, (value) => colourOf(value, full, OPACITY, palette));
  const { credit, palette, card } = results[state.result ?? 0];
  const map = state.result === null ? colours(objective.values, objective.palette, largest(objective.values)) : colours(credit.parts(0), palette);
  query.paint(part ? null : map);
  query.mark(part ? [{ index: part.index, width: state.pinned === part.index ? 3.5 : 2 }] : [], Boolean(part));
  results.forEach((result) => drawResult(result, colours, most));
  root.querySelectorAll('.result').forEach((item) => item.classList.toggle('chosen', !part && state.result !== null && results.length > 1 && item === card));
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
  const write = writer(most), [least, , greatest] = find('.ticks').children, isOfAll = !part && state.result === null;
  const told = isOfAll ? objective.purpose : hasMaps ? `what each part adds for result ${state.result + 1}` : '';
  find('.source').textContent = part ? query.name(part.index) : told;
  find('.hint').textContent = hasPairs ? 'Click a part of the query to see where it is in every result. Arrow keys move, Enter holds, Escape shows the maps.' : '';
  find('.clear').hidden = state.pinned === null;
  drawScale(find('.legend canvas'), OPACITY, results[state.result ?? 0].palette);
  [least.textContent, greatest.textContent] = [write(-most), write(most)];
  const own = isOfAll ? `; of the query, on its own scale, ${writer(largest(objective.values))(largest(objective.values)).replace('+', '±')}` : '';
  find('.legend figcaption').textContent = `similarity; full colour: the largest ${part ? 'pair with this part' : 'value of a part'}, in all results${own}`;
  find('.relation').textContent = part ? `${PAIRS_TOLD} ${data.results[0].method.index}` : isOfAll ? `The query shows ${objective.purpose}: what each of its parts adds to the objective while all results are whole. ${MAPS_TOLD}` : MAPS_TOLD;
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

function unpin() {
  Object.assign(state, { here: null, pinned: null });
  draw();
}

/** No part of the query, and its first map again: of the objective, if there is one. */
function clear() {
  if (objective) state.result = null;
  unpin();
}

/** Part where the keyboard enters the query: the last part, or the one that adds most. */
function entrance() {
  const { credit } = results[state.result ?? 0];
  const values = (state.result === null ? objective.values : credit.parts(0)) ?? credit.pairs({ side: 1, index: 0 }, 0);
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
      unpin();
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
