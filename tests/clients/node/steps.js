// Steps of node-postgres against a server: `node steps.js HOST PORT USER DATABASE SCHEMA`, with the modules' folder in NODE_PATH.
// Prints a line for each: its name, a tab, and `ok` or what went wrong. Each step has a connection of its own.
'use strict';

const assert = require('node:assert/strict');
const { pipeline } = require('node:stream/promises');
const { Readable } = require('node:stream');
const pg = require('pg');
const Cursor = require('pg-cursor');
const QueryStream = require('pg-query-stream');
const copy = require('pg-copy-streams');

const [host, port, user, database, schema] = process.argv.slice(2);
const settings = { host, port: Number(port), user, database };
const LONG = 'select count(*) from generate_series(1, 20000) as a(x), generate_series(1, 20000) as b(y), generate_series(1, 100) as c(z) where x * y % 7 = z';

async function fails(code, action) {
  await assert.rejects(action, (error) => { assert.equal(error.code, code); return true; });
}

const steps = {
  'simple queries, several at once': async (client) => {
    const one = await client.query('select 1::int4 as x, \'a\' as t');
    assert.deepEqual(one.rows, [{ x: 1, t: 'a' }]);
    assert.deepEqual(one.fields.map((field) => field.name), ['x', 't']);
    const many = await client.query('select 1::int4 as a; select 2::int4 as b; select 3::int4 as c where false');
    assert.deepEqual(many.map((result) => result.rows), [[{ a: 1 }], [{ b: 2 }], []]);
    assert.deepEqual((await client.query({ text: 'select 1::int4, 2::int4', rowMode: 'array' })).rows, [[1, 2]]);
  },
  'queries with parameters': async (client) => {
    const { rows } = await client.query('select $1::int as n, $2::text as t, $3::boolean as b, $4::float8 as f, $5::text is null as e', [42, 'ä\'\\', true, 0.5, null]);
    assert.deepEqual(rows, [{ n: 42, t: 'ä\'\\', b: true, f: 0.5, e: true }]);
    const found = await client.query('select count(*) from (values (1), (2), (3)) as v(x) where x = any($1)', [[1, 3]]);
    assert.deepEqual(found.rows, [{ count: '2' }]);
    const dates = await client.query('select $1::timestamptz as z, $2::date as d', [new Date(Date.UTC(2024, 1, 29, 1, 2, 3)), '2024-02-29']);
    assert.equal(dates.rows[0].z.toISOString(), '2024-02-29T01:02:03.000Z');
    assert.equal(dates.rows[0].d.getFullYear(), 2024);
  },
  'named prepared statements': async (client) => {
    for (let i = 0; i < 20; i++) {
      const { rows } = await client.query({ name: 'add', text: 'select $1::int + $2::int as sum', values: [i, 1] });
      assert.equal(rows[0].sum, i + 1);
    }
    assert.equal((await client.query('select count(*)::int as n from (values (1)) as v(x)')).rows[0].n, 1);
  },
  'type parsing in text': async (client) => {
    const { rows } = await client.query(`select true as b, 1::int2 as i2, 2::int4 as i4, 9007199254740993::int8 as i8, 1.5::real as f4, 0.1::float8 as f8,
      1.50::numeric(10,2) as n, 'x'::varchar as v, '\\x00ff'::bytea as y, array[1, null, 3]::int4[] as ai,
      array['a,b', '"']::text[] as at, timestamp '2024-02-29 01:02:03.004' as ts, '0b8f2c1e-0000-4000-8000-000000000001'::uuid as u, null::int4 as e`);
    const row = rows[0];
    assert.deepEqual({ ...row, ts: null, y: null }, { b: true, i2: 1, i4: 2, i8: '9007199254740993', f4: 1.5, f8: 0.1, n: '1.50', v: 'x', y: null,
      ai: [1, null, 3], at: ['a,b', '"'], ts: null, u: '0b8f2c1e-0000-4000-8000-000000000001', e: null });
    assert.deepEqual(row.y, Buffer.from([0, 255]));
    assert.equal(row.ts.getTime(), new Date(2024, 1, 29, 1, 2, 3, 4).getTime());
    const interval = (await client.query("select interval '1 month 2 days 3 hours' as i")).rows[0].i;
    assert.deepEqual({ ...interval }, { months: 1, days: 2, hours: 3 });
  },
  'results in binary': async (client) => {
    const { rows } = await client.query({ text: 'select true as b, 2::int4 as i, \'x\' as t, 5::int8 as l where $1::int = 1', values: [1], binary: true });
    assert.deepEqual(rows, [{ b: true, i: 2, t: 'x', l: '5' }]);
  },
  'pg-cursor': async (client) => {
    const cursor = client.query(new Cursor('select i from generate_series(1, 1005) as g(i) where i > $1 order by i', [0]));
    const rows = [];
    for (let some = await cursor.read(100); some.length > 0; some = await cursor.read(100)) rows.push(...some);
    assert.deepEqual(rows.map((row) => Number(row.i)), Array.from({ length: 1005 }, (_, i) => i + 1));
    await cursor.close();
    const other = client.query(new Cursor('select i from generate_series(1, 1000) as g(i)'));
    assert.equal((await other.read(3)).length, 3);
    await other.close();
    assert.equal((await client.query('select 1 as x')).rows.length, 1);
  },
  'pg-query-stream': async (client) => {
    let rows = 0;
    for await (const row of client.query(new QueryStream('select i, \'text \' || i as t from generate_series(1, 20000) as g(i)', [], { batchSize: 500, highWaterMark: 500 }))) {
      assert.equal(row.t, `text ${row.i}`);
      rows++;
    }
    assert.equal(rows, 20000);
    const abandoned = client.query(new QueryStream('select i from generate_series(1, 1000000) as g(i)'));
    for await (const row of abandoned) { assert.ok(row.i); break; }
    assert.equal((await client.query('select 1 as x')).rows.length, 1);
  },
  'pg-copy-streams: in and out': async (client) => {
    await client.query(`create table ${schema}.copied (id int, name text)`);
    const lines = Array.from({ length: 5000 }, (_, i) => `${i}\tname ${i}\n`);
    await pipeline(Readable.from(lines), client.query(copy.from(`copy ${schema}.copied from stdin`)));
    let text = '';
    for await (const piece of client.query(copy.to(`copy (select * from ${schema}.copied order by id) to stdout (format csv)`))) text += piece;
    assert.equal(text, lines.map((line) => line.replace('\t', ',')).join(''));
    await fails('22P02', () => pipeline(Readable.from(['x\ty\n']), client.query(copy.from(`copy ${schema}.copied from stdin`))));
    assert.equal((await client.query(`select count(*)::int as n from ${schema}.copied`)).rows[0].n, 5000);
  },
  'pg-copy-streams: binary': async (client) => {
    await client.query(`create table ${schema}.copied_binary (id bigint, name text)`);
    const pieces = [];
    for await (const piece of client.query(copy.to("copy (select i::int8, 'n' || i from generate_series(1, 1000) as g(i)) to stdout (format binary)"))) pieces.push(piece);
    await pipeline(Readable.from([Buffer.concat(pieces)]), client.query(copy.from(`copy ${schema}.copied_binary from stdin (format binary)`)));
    assert.deepEqual((await client.query(`select count(*)::int as n, sum(id)::int as s from ${schema}.copied_binary`)).rows, [{ n: 1000, s: 500500 }]);
  },
  'transactions': async (client) => {
    await client.query(`create table ${schema}.changed (id int, name text)`);
    await client.query('BEGIN');
    const inserted = await client.query(`insert into ${schema}.changed values ($1, $2), ($3, $4) returning id, upper(name) as name`, [1, 'a', 2, 'b']);
    assert.deepEqual([inserted.command, inserted.rowCount, inserted.rows], ['INSERT', 2, [{ id: 1, name: 'A' }, { id: 2, name: 'B' }]]);
    assert.equal((await client.query(`update ${schema}.changed set name = 'c' where id = $1`, [1])).rowCount, 1);
    await client.query('ROLLBACK');
    assert.equal((await client.query(`select count(*)::int as n from ${schema}.changed`)).rows[0].n, 0);
    assert.equal((await client.query(`insert into ${schema}.changed select i, 'x' from generate_series(1, 7) as g(i)`)).rowCount, 7);
    assert.equal((await client.query(`delete from ${schema}.changed where id > 2`)).rowCount, 5);
  },
  'errors': async (client) => {
    await fails('42P01', () => client.query('select * from nowhere'));
    await assert.rejects(() => client.query('select nothing from (values (1)) as v(x)'), (error) => {
      assert.deepEqual([error.code, error.severity, error.position], ['42703', 'ERROR', '8']);
      return error instanceof pg.DatabaseError;
    });
    await fails('22P02', () => client.query('select $1::int', ['x']));
    await fails('22012', () => client.query({ name: 'div', text: 'select 1 / $1::int', values: [0] }));
    assert.equal((await client.query({ name: 'div', text: 'select 1 / $1::int', values: [1] })).rows.length, 1);
  },
  'statement_timeout, query_timeout and cancel': async (client) => {
    const limited = new pg.Client({ ...settings, statement_timeout: 300, application_name: 'a name', options: `-c search_path=${schema}` });
    await limited.connect();
    await fails('57014', () => limited.query(LONG));
    assert.equal((await limited.query('show search_path')).rows[0].search_path, schema);
    assert.equal((await limited.query('show application_name')).rows[0].application_name, 'a name');
    await limited.end();
    const running = client.query(LONG);
    const other = new pg.Client(settings);
    await other.connect();
    setTimeout(() => other.query('select pg_cancel_backend($1)', [client.processID]).catch(() => {}), 300);
    await fails('57014', () => running);
    await other.end();
  },
  'pool': async () => {
    const pool = new pg.Pool({ ...settings, max: 5 });
    const answers = await Promise.all(Array.from({ length: 50 }, (_, i) => pool.query('select $1::int as x', [i])));
    assert.deepEqual(answers.map((answer) => answer.rows[0].x), Array.from({ length: 50 }, (_, i) => i));
    await pool.end();
  },
};

async function main() {
  const first = new pg.Client(settings);
  await first.connect();
  await first.query(`create schema ${schema}`);
  await first.end();
  for (const [name, step] of Object.entries(steps)) {
    const client = new pg.Client(settings);
    let outcome = 'ok';
    try {
      await client.connect();
      await step(client);
    } catch (error) {
      outcome = String(error.stack).replace(/\s+/g, ' ');
    }
    await client.end().catch(() => {});
    console.log(`${name}\t${outcome}`);
  }
}

main();
