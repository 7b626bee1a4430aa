{# Cents, as an amount of money. #}
{% macro amount(cents) -%}
    ({{ cents }} / 100.0)::numeric(12,2)
{%- endmacro %}
