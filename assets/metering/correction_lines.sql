-- about: Every line that corrects a locked month, in exact decimals; they add up to what an invoice says of its corrections.
-- grain: tenant_id, period, original_period, line
-- every: month
-- window: period
-- columns:
--   period: First day of the month whose invoice takes the line.
--   tenant_id: Tenant that is billed.
--   original_period: First day of the locked month that is corrected.
--   original_invoice: Digest of its locked invoice; empty text where there is none.
--   line: Number of the line within the correction, from 1.
--   kind: What the line is, as in invoice_lines.
--   charge: Charge of the plan; empty text for a line of the plan itself.
--   meter: Meter, where there is one.
--   events: Late events of the meter, or of all meters for a line without one.
--   quantity: Difference of the billable quantity.
--   amount: Difference of the amount.
--   line_discount: Difference of the discount of the charge.
--   invoice_discount: Difference of the share of the plan's discount.
--   net: Difference after discounts; negative for a credit.
--   tax_amount: Difference of the tax; NULL where tax is rounded per document, or there is none.
WITH opened AS (
    SELECT period, tenant_id, original_period, original_invoice,
           from_json(correction -> '$.lines', '[{"kind": "VARCHAR", "charge": "VARCHAR", "meter": "VARCHAR", "event_count": "BIGINT",
               "quantity": "VARCHAR", "amount": "VARCHAR", "line_discount": "VARCHAR", "invoice_discount": "VARCHAR", "net": "VARCHAR",
               "tax_amount": "VARCHAR"}]') AS lines
    FROM metering.corrected
    WHERE period BETWEEN CAST($first AS DATE) AND CAST($last AS DATE) AND correction <> ''
),
numbered AS (
    SELECT period, tenant_id, original_period, original_invoice, unnest(lines) AS each, generate_subscripts(lines, 1) AS line FROM opened
)
SELECT period, tenant_id, original_period, original_invoice, CAST(line AS BIGINT) AS line, each.kind AS kind, each.charge AS charge,
       each.meter AS meter, each.event_count AS events, CAST(each.quantity AS DECIMAL(38, 9)) AS quantity,
       CAST(each.amount AS DECIMAL(38, 9)) AS amount, CAST(each.line_discount AS DECIMAL(38, 9)) AS line_discount,
       CAST(each.invoice_discount AS DECIMAL(38, 9)) AS invoice_discount, CAST(each.net AS DECIMAL(38, 9)) AS net,
       CAST(each.tax_amount AS DECIMAL(38, 9)) AS tax_amount
FROM numbered
ORDER BY period, tenant_id, original_period, line
