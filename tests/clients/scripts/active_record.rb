# Steps of ActiveRecord (over ruby-pg) against the server of PGHOST and so on, in the schema of the first argument.
# Prints a line for each: its name, a tab, `ok` or what went wrong.
require 'active_record'
require 'pg'

SCHEMA = ARGV.fetch(0)
PG.connect.tap { |first| first.set_notice_processor { |_| }; first.exec("drop schema if exists #{SCHEMA} cascade"); first.exec("create schema #{SCHEMA}"); first.close }
ActiveRecord::Base.establish_connection(adapter: 'postgresql', host: ENV['PGHOST'], port: ENV['PGPORT'], username: ENV['PGUSER'], database: ENV['PGDATABASE'], schema_search_path: SCHEMA)
DB = ActiveRecord::Base.connection
class Item < ActiveRecord::Base; end
AT = Time.utc(2024, 2, 29, 1, 2, 3)

def id(number) = "0b8f2c1e-0000-4000-8000-00000000000#{number}"
def same(found, expected) = found == expected || raise("found #{found.inspect}")

def step(name)
  yield
  puts "#{name}\tok"
rescue StandardError => e
  puts "#{name}\t#{e.message.gsub(/\s+/, ' ')}"
end

step('create_table, columns, primary keys, tables') do
  DB.create_table(:items, id: :uuid, default: nil) do |t|
    t.string :name, limit: 50, null: false
    t.decimal :price, precision: 10, scale: 2
    t.integer :n
    t.boolean :ok
    t.datetime :at
    t.binary :y
    t.jsonb :doc
    t.integer :tags, array: true
  end
  same(DB.columns(:items).map { |column| [column.name, column.sql_type, column.null] }.first(4),
       [['id', 'uuid', false], ['name', 'character varying(50)', false], ['price', 'numeric(10,2)', true], ['n', 'integer', true]])
  same([DB.primary_key(:items), DB.tables, DB.table_exists?(:items), DB.indexes(:items), DB.foreign_keys(:items)], ['id', ['items'], true, [], []])
end
step('create, insert_all, upsert_all, update, destroy') do
  Item.create!(id: id(1), name: 'a', price: '1.25', n: 1, ok: true, at: AT, y: "\x00\xff".b, doc: { a: [1] }, tags: [1, 2])
  Item.insert_all([{ id: id(2), name: 'b', n: 2 }, { id: id(3), name: 'c', n: 3 }])
  Item.upsert_all([{ id: id(2), name: 'B', n: 22 }], unique_by: :id)
  first = Item.find(id(1))
  same([first.price, first.ok, first.at, first.y, first.doc, first.tags], [BigDecimal('1.25'), true, AT, "\x00\xff".b, { 'a' => [1] }, [1, 2]])
  first.update!(name: 'changed')
  same(Item.order(:n).pluck(:name, :n), [['changed', 1], ['c', 3], ['B', 22]])
  Item.find_by(n: 3).destroy
  same(Item.count, 2)
end
step('where, aggregates, find_each, joins of conditions') do
  same([Item.where(name: %w[changed x]).count, Item.where('n > ?', 1).pluck(:n), Item.where(at: AT..AT + 1).count, Item.where.not(n: 1).count, Item.where('? = any(tags)', 1).count], [1, [22], 1, 1, 1])
  same([Item.group(:ok).count, Item.sum(:price), Item.maximum(:at)], [{ true => 1, nil => 1 }, BigDecimal('1.25'), AT])
  numbers = []
  Item.find_each(batch_size: 1) { |item| numbers << item.n }
  same(numbers.sort, [1, 22])
end
step('transactions, savepoints, locks, errors') do
  Item.transaction do
    Item.delete_all
    Item.transaction(requires_new: true) { raise ActiveRecord::Rollback }
    raise ActiveRecord::Rollback
  end
  same([Item.count, Item.transaction { Item.lock.to_a.size }], [2, 2])
  begin
    Item.create!(id: id(9), name: 'x' * 60)
  rescue ActiveRecord::ValueTooLong => e
    same(e.message.include?('character varying(50)'), true)
  end
end
step('keys that the server gives out') do
  DB.create_table(:numbered) { |t| t.string :name }
  numbered = Class.new(ActiveRecord::Base) { self.table_name = 'numbered' }
  same([numbered.create!(name: 'a').id, numbered.create!(name: 'b').id], [1, 2])
  same(numbered.insert_all!([{ name: 'c' }, { name: 'd' }], returning: %w[id name]).rows, [[3, 'c'], [4, 'd']])
  DB.drop_table(:numbered)
end
