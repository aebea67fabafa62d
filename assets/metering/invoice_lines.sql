-- about: Every line of every invoice of the month, in exact decimals. Within a tenant the lines add up to its invoice.
-- grain: tenant_id, period, line
-- every: month
-- window: period
-- columns:
--   period: First day of the billing month.
--   tenant_id: Tenant that is billed.
--   line: Number of the line on the invoice, from 1.
--   currency: Currency of the amounts, ISO 4217.
--   kind: What the line is, for example usage, flat, fee, minimum, maximum, overage, commitment.
--   charge: Charge of the plan; empty text for a line of the plan itself.
--   plan: Plan.
--   price_book: Price book.
--   version: Version of the price book.
--   start_utc: Where the part of the month begins, UTC.
--   end_utc: Where it ends (exclusive), UTC.
--   meter: Meter, where there is one.
--   dimensions: Values of a matrix's dimensions as JSON.
--   above: Lower end of the tier (exclusive).
--   up_to: Upper end of the tier (inclusive); NULL for the open one.
--   quantity: Billable quantity.
--   unit_price: Price of one.
--   allowance_used: Quantity that was free.
--   amount: Quantity times unit price, rounded once.
--   line_discount: Discount of the charge, negative.
--   invoice_discount: Share of the plan's discount, negative.
--   net: Amount after discounts.
--   tax: Name of the tax, where the line has one.
--   tax_percent: Its rate in percent.
--   tax_amount: Tax on the net, rounded once; NULL where tax is rounded per document, or there is none.
WITH opened AS (
    SELECT period, tenant_id, currency,
           from_json(invoice -> '$.lines', '[{"kind": "VARCHAR", "charge": "VARCHAR", "plan": "VARCHAR", "price_book": "VARCHAR",
               "version": "VARCHAR", "start": "VARCHAR", "end": "VARCHAR", "meter": "VARCHAR", "dimensions": "JSON", "tier": ["VARCHAR"],
               "quantity": "VARCHAR", "unit_price": "VARCHAR", "allowance_used": "VARCHAR", "amount": "VARCHAR", "line_discount": "VARCHAR",
               "invoice_discount": "VARCHAR", "net": "VARCHAR", "tax": "VARCHAR", "tax_percent": "VARCHAR", "tax_amount": "VARCHAR"}]') AS lines
    FROM metering.rated
    WHERE period BETWEEN CAST($first AS DATE) AND CAST($last AS DATE) AND invoice <> ''
),
numbered AS (
    SELECT period, tenant_id, currency, unnest(lines) AS each, generate_subscripts(lines, 1) AS line FROM opened
)
SELECT period, tenant_id, CAST(line AS BIGINT) AS line, currency, each.kind AS kind, each.charge AS charge, each.plan AS plan,
       each.price_book AS price_book, each.version AS version,
       CAST(rtrim(each.start, 'Z') AS TIMESTAMP) AS start_utc, CAST(rtrim(each."end", 'Z') AS TIMESTAMP) AS end_utc,
       each.meter AS meter, CAST(each.dimensions AS VARCHAR) AS dimensions,
       CAST(each.tier[1] AS DECIMAL(38, 9)) AS above, CAST(each.tier[2] AS DECIMAL(38, 9)) AS up_to,
       CAST(each.quantity AS DECIMAL(38, 9)) AS quantity, CAST(each.unit_price AS DECIMAL(38, 12)) AS unit_price,
       CAST(each.allowance_used AS DECIMAL(38, 9)) AS allowance_used,
       CAST(each.amount AS DECIMAL(38, 9)) AS amount, CAST(each.line_discount AS DECIMAL(38, 9)) AS line_discount,
       CAST(each.invoice_discount AS DECIMAL(38, 9)) AS invoice_discount, CAST(each.net AS DECIMAL(38, 9)) AS net,
       each.tax AS tax, CAST(each.tax_percent AS DECIMAL(38, 10)) AS tax_percent, CAST(each.tax_amount AS DECIMAL(38, 9)) AS tax_amount
FROM numbered
ORDER BY period, tenant_id, line
