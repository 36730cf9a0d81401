// Where everything of a ladder goes. Pure: no framework, no DOM, no clock, so that the page, the exported picture and
// the tests share one geometry. Lengths are CSS pixels; a row's geometry is relative to its own top left corner.

import { duration } from '../format';
import type { LadderModel, LadderModelRow, Tone } from './model';

export interface LadderOptions {
  /** Room for the lanes, without the gutter that holds the times. */
  width: number;
  minColumn: number;
  maxColumn: number;
  rowHeight: number;
  /** A pause at least this long is drawn as a gap before the row. */
  gapAfterMs: number;
  gapHeight: number;
}

export const DEFAULT_OPTIONS: LadderOptions = {
  width: 720,
  minColumn: 132,
  maxColumn: 340,
  rowHeight: 40,
  gapAfterMs: 2000,
  gapHeight: 24,
};

export interface Column {
  address: string;
  /** Centre line. */
  x: number;
}

export interface Row {
  index: number;
  message: number;
  top: number;
  height: number;
  /** Words for the pause before this row, else `null`. */
  gap: string | null;
  /** Height of the pause, at the row's top; 0 without one. */
  gapHeight: number;
  shape: 'right' | 'left' | 'self' | 'note';
  /** The arrow's line or the note's frame, an SVG path. */
  line: string;
  /** The arrow's head, points of an SVG polygon; empty of a note. */
  head: string;
  label: { x: number; y: number; anchor: 'start' | 'middle' | 'end'; text: string; detail: string };
  tone: Tone;
  /** Which of the transaction colours, 0 to 7. */
  colour: number;
  retransmission: boolean;
}

export interface Layout {
  width: number;
  height: number;
  columnWidth: number;
  columns: Column[];
  rows: Row[];
}

export const COLOURS = 8;

/** Mean width of a character of the label's 12 px font, on the wide side. */
const CHARACTER = 6.8;
const HEAD_LENGTH = 8;
const HEAD_HALF = 4;
const LOOP_WIDTH = 26;
const LABEL_MARGIN = 7;
/** How far a note reaches beyond the outer lanes, in columns. */
const NOTE_REACH = 0.42;
const NOTE_MARGIN = 7;

export function layoutLadder(model: LadderModel, options: Partial<LadderOptions> = {}): Layout {
  const chosen = { ...DEFAULT_OPTIONS, ...options };
  const hosts = Math.max(model.hosts.length, 1);
  const columnWidth = clamp(chosen.width / hosts, chosen.minColumn, chosen.maxColumn);
  const columns = model.hosts.map((address, index) => ({ address, x: Math.round(columnWidth * (index + 0.5)) }));
  const width = Math.round(columnWidth * hosts);

  const rows: Row[] = [];
  let top = 0;
  model.rows.forEach((row, index) => {
    const from = columns[row.from];
    const to = columns[row.to];
    if (!from || !to) return;
    const paused = index > 0 && row.deltaMs >= chosen.gapAfterMs;
    const gapHeight = paused ? chosen.gapHeight : 0;
    const height = chosen.rowHeight + gapHeight;
    const selfOnLeft = row.from === row.to && columns.length > 1 && row.from === columns.length - 1;
    rows.push({
      index,
      message: row.message,
      top,
      height,
      gap: paused ? duration(row.deltaMs) : null,
      gapHeight,
      ...drawn(row, from.x, to.x, gapHeight, chosen.rowHeight, width, columnWidth, selfOnLeft),
      tone: row.tone,
      colour: row.transaction % COLOURS,
      retransmission: row.retransmission,
    });
    top += height;
  });
  return { width, height: top, columnWidth, columns, rows };
}

function drawn(
  row: LadderModelRow,
  from: number,
  to: number,
  y0: number,
  rowHeight: number,
  width: number,
  columnWidth: number,
  selfOnLeft: boolean,
): Pick<Row, 'shape' | 'line' | 'head' | 'label'> {
  if (row.kind === 'note') return note(row, from, to, y0, rowHeight, columnWidth);
  if (from === to) return loop(row, from, y0, rowHeight, width, columnWidth, selfOnLeft);
  const y = y0 + Math.round(rowHeight * 0.7);
  const step = to > from ? 1 : -1;
  const back = to - step * HEAD_LENGTH;
  const words = fit(row, Math.abs(to - from) - 2 * LABEL_MARGIN);
  return {
    shape: to > from ? 'right' : 'left',
    line: `M${from} ${y}H${back}`,
    head: `${to},${y} ${back},${y - HEAD_HALF} ${back},${y + HEAD_HALF}`,
    label: { x: (from + to) / 2, y: y - 8, anchor: 'middle', ...words },
  };
}

/** An event: a frame across all lanes, as wide as they reach. */
function note(
  row: LadderModelRow,
  first: number,
  last: number,
  y0: number,
  rowHeight: number,
  columnWidth: number,
): Pick<Row, 'shape' | 'line' | 'head' | 'label'> {
  const reach = Math.round(columnWidth * NOTE_REACH);
  const [left, right] = [first - reach, last + reach];
  const [top, bottom] = [y0 + NOTE_MARGIN, y0 + rowHeight - NOTE_MARGIN];
  return {
    shape: 'note',
    line: `M${left} ${top}H${right}V${bottom}H${left}Z`,
    head: '',
    label: { x: left + LABEL_MARGIN, y: Math.round((top + bottom) / 2) + 4, anchor: 'start', ...fit(row, right - left - 2 * LABEL_MARGIN) },
  };
}

/** A message a host sends to itself: a loop beside the lane, on the side where there is room. */
function loop(
  row: LadderModelRow,
  x: number,
  y0: number,
  rowHeight: number,
  width: number,
  columnWidth: number,
  left: boolean,
): Pick<Row, 'shape' | 'line' | 'head' | 'label'> {
  const side = left ? -1 : 1;
  const top = y0 + Math.round(rowHeight * 0.28);
  const bottom = y0 + Math.round(rowHeight * 0.72);
  const far = x + side * LOOP_WIDTH;
  const back = x + side * HEAD_LENGTH;
  const labelX = far + side * 7;
  const room = left ? labelX : Math.min(width - labelX, columnWidth - LOOP_WIDTH - 7);
  const corner = 5 * side;
  return {
    shape: 'self',
    line:
      `M${x} ${top}H${far - corner}Q${far} ${top} ${far} ${top + 5}` +
      `V${bottom - 5}Q${far} ${bottom} ${far - corner} ${bottom}H${back}`,
    head: `${x},${bottom} ${back},${bottom - HEAD_HALF} ${back},${bottom + HEAD_HALF}`,
    label: { x: labelX, y: y0 + Math.round(rowHeight / 2) + 4, anchor: left ? 'end' : 'start', ...fit(row, room) },
  };
}

/** The label, and as many details as there is room for; a label that does not fit ends in an ellipsis. */
export function fit(row: Pick<LadderModelRow, 'label' | 'details' | 'retransmission'>, room: number): { text: string; detail: string } {
  const fits = Math.max(Math.floor(room / CHARACTER), 3);
  const text = row.retransmission ? `↻ ${row.label}` : row.label;
  if (text.length > fits) return { text: `${text.slice(0, fits - 1)}…`, detail: '' };
  let detail = '';
  for (const word of row.details) {
    const longer = `${detail} · ${word}`;
    if (text.length + longer.length > fits) break;
    detail = longer;
  }
  return { text, detail };
}

/** Rows [first, last) that touch the window, with some rows more on either side so that scrolling shows no holes. */
export function visibleRows(layout: Layout, scrollTop: number, viewHeight: number, overscan = 12): [number, number] {
  const first = rowAt(layout.rows, scrollTop);
  const last = rowAt(layout.rows, scrollTop + viewHeight) + 1;
  return [Math.max(0, first - overscan), Math.min(layout.rows.length, last + overscan)];
}

function rowAt(rows: Row[], y: number): number {
  let low = 0;
  let high = rows.length - 1;
  while (low < high) {
    const middle = (low + high + 1) >> 1;
    const row = rows[middle];
    if (row && row.top <= y) low = middle;
    else high = middle - 1;
  }
  return low;
}

function clamp(value: number, low: number, high: number): number {
  return Math.min(Math.max(value, low), high);
}
