// Steps of other node clients against a server: `node clients.js HOST PORT USER DATABASE SCHEMA`, with the modules' folder in NODE_PATH.
// Prints a line for each: the client, its step, and `ok` or what went wrong, between tabs.
'use strict';

const assert = require('node:assert/strict');
const postgres = require('postgres');
const knex = require('knex');
require('reflect-metadata');
const { DataSource, EntitySchema, In } = require('typeorm');

const [host, port, user, database, schema] = process.argv.slice(2);
const settings = { host, port: Number(port), user, database };
const at = new Date(Date.UTC(2024, 1, 29, 1, 2, 3));
const uuid = (i) => `0b8f2c1e-0000-4000-8000-00000000000${i}`;
const LONG = 'select count(*) from generate_series(1, 20000) as a(x), generate_series(1, 20000) as b(y), generate_series(1, 100) as c(z) where x * y % 7 = z';

const sql = postgres({ ...settings, max: 3, onnotice: () => {} });
const k = knex({ client: 'pg', connection: settings, searchPath: [schema] });
const Item = new EntitySchema({ name: 'Item', tableName: 'typeorm_items', columns: {
  id: { type: 'uuid', primary: true }, s: { type: 'varchar', length: 50, nullable: true }, n: { type: 'numeric', precision: 10, scale: 2, nullable: true },
  i: { type: 'int', nullable: true }, at: { type: 'timestamptz', nullable: true }, j: { type: 'jsonb', nullable: true }, a: { type: 'int', array: true, nullable: true } } });
const source = new DataSource({ type: 'postgres', host, port: Number(port), username: user, database, schema, entities: [Item], installExtensions: false });

const clients = {
  'postgres.js': {
    'parameters of every type, helpers, documents': async () => {
      const table = sql(`${schema}.js`);
      await sql`create table ${table} (id bigint not null, s text, n numeric(10,2), b boolean, tz timestamptz, y bytea, j jsonb, a int[], t text[], u uuid)`;
      const row = { id: '1', s: 'a', n: '1.25', b: true, tz: at, y: Buffer.from([1, 2]), j: { a: [1] }, a: [1, 2], t: ['x', 'y"z'], u: uuid(1) };
      await sql`insert into ${table} ${sql(row)}`;
      assert.deepEqual([...await sql`select * from ${table}`], [row]);
      assert.deepEqual([...await sql`insert into ${table} ${sql([{ id: 2, s: 'b' }, { id: 3, s: null }], 'id', 's')} returning id, s`], [{ id: '2', s: 'b' }, { id: '3', s: null }]);
      assert.deepEqual([...await sql`select id from ${table} where id in ${sql([1, 2])} and s = any(${['a', 'b']}) order by id`], [{ id: '1' }, { id: '2' }]);
      assert.equal((await sql`select ${sql.json({ a: 1 })} as j`)[0].j.a, 1);
    },
    'cursors and streams': async () => {
      const rows = [];
      await sql`select x from generate_series(1, 5) as x`.cursor(2, (some) => { rows.push(some.length); });
      assert.deepEqual(rows, [2, 2, 1]);
    },
    'transactions, savepoints, pipelines': async () => {
      await assert.rejects(sql.begin(async (tx) => {
        await tx`create table ${tx(`${schema}.gone`)} (a int)`;
        await tx.savepoint((inner) => inner`select 1/0`).catch((error) => assert.equal(error.code, '22012'));
        throw new Error('no');
      }), /no/);
      await assert.rejects(sql`select * from ${sql(`${schema}.gone`)}`, { code: '42P01' });
      const [[a], [b]] = await sql.begin((tx) => [tx`select 1 as a`, tx`select 2 as b`]);
      assert.deepEqual([a.a, b.b], [1, 2]);
    },
    'a query is cancelled': async () => {
      const query = sql.unsafe(LONG);
      const waiting = assert.rejects(query, { code: '57014' });
      setTimeout(() => query.cancel(), 100);
      await waiting;
    },
  },
  knex: {
    'tables, column info, batches, upserts, transactions': async () => {
      await k.schema.createTable('kx', (t) => { t.bigInteger('id').notNullable(); t.string('s', 50); t.decimal('n', 10, 2); t.timestamp('tz'); t.jsonb('j'); t.specificType('a', 'int[]'); });
      await k('kx').insert([{ id: 1, s: 'a', n: 1.25, tz: at, j: JSON.stringify({ a: 1 }), a: [1, 2] }, { id: 2, s: null }]);
      assert.deepEqual(await k('kx').where({ id: 1 }), [{ id: '1', s: 'a', n: '1.25', tz: at, j: { a: 1 }, a: [1, 2] }]);
      const types = Object.entries(await k('kx').columnInfo()).map(([name, info]) => [name, info.type]);
      assert.deepEqual(types, [['id', 'bigint'], ['s', 'character varying'], ['n', 'numeric'], ['tz', 'timestamp with time zone'], ['j', 'jsonb'], ['a', 'ARRAY']]);
      await k.batchInsert('kx', [...Array(50)].map((_, i) => ({ id: 100 + i, s: `b${i}` })), 20);
      await assert.rejects(k.transaction(async (tx) => { await tx('kx').del(); throw new Error('no'); }), /no/);
      assert.deepEqual(await k('kx').count(), [{ count: '52' }]);
      assert.equal(await k('kx').where('id', '>', 99).del(), 50);
      assert.deepEqual(await k('kx').whereJsonSupersetOf('j', { a: 1 }).pluck('id'), ['1']);
      assert.deepEqual([await k.schema.hasTable('kx'), await k.schema.hasColumn('kx', 's'), await k.schema.hasTable('nope')], [true, true, false]);
      await k.schema.renameTable('kx', 'ky');
      await k.schema.dropTable('ky');
    },
  },
  TypeORM: {
    'synchronize, twice': async () => {
      await source.initialize();
      await source.synchronize();
      await source.synchronize();
    },
    'save, find, upsert, transactions': async () => {
      const items = source.getRepository(Item);
      const first = { id: uuid(1), s: 'a', n: '1.25', i: 1, at, j: { a: 1 }, a: [1, 2] };
      await items.save({ ...first });
      await items.save([{ id: uuid(2), s: 'b', i: 2 }, { id: uuid(3), s: 'c', i: 3 }]);
      assert.deepEqual({ ...await items.findOneBy({ id: uuid(1) }) }, first);
      assert.equal(await items.countBy({ s: In(['a', 'b']) }), 2);
      await items.upsert([{ id: uuid(2), s: 'up' }], ['id']);
      assert.equal((await items.findOneBy({ id: uuid(2) })).s, 'up');
      await assert.rejects(source.transaction(async (manager) => { await manager.delete(Item, { i: 3 }); throw new Error('no'); }), /no/);
      assert.deepEqual((await items.findAndCount({ take: 1, skip: 1, order: { id: 'ASC' } })).map((found) => found.length ?? found), [1, 3]);
      assert.equal((await items.delete({ i: 3 })).affected, 1);
    },
  },
};

(async () => {
  const first = postgres({ ...settings, max: 1, onnotice: () => {} });
  await first`drop schema if exists ${first(schema)} cascade`;
  await first`create schema ${first(schema)}`;
  await first.end();
  for (const [client, steps] of Object.entries(clients)) {
    for (const [name, step] of Object.entries(steps)) {
      const outcome = await step().then(() => 'ok', (error) => String(error.stack ?? error).replaceAll('\n', ' '));
      console.log(`${client}\t${name}\t${outcome}`);
    }
  }
  await sql.end({ timeout: 1 });
  await k.destroy();
  if (source.isInitialized) await source.destroy();
})();
